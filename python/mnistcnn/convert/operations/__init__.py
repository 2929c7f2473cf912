"""Translate single operations of PyTorch into layers."""
