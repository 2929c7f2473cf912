"""Data sets, batch loader and normalization."""
