"""Conversion of PyTorch modules to models."""
