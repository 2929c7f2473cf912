"""Conversion between PyTorch modules and models, and export to ONNX."""
