"""Export of a model to files that other programs run: ONNX, a C header, a web page, weights for PyTorch."""
