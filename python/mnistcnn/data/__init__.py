"""Data sets, the batch loader and normalization."""
