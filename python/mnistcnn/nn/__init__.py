"""Layers, graphs, models, the model zoo and model files."""
