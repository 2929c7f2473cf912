"""Networks from PyTorch and to PyTorch."""
