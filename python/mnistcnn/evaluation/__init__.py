"""Test results, predictions and explanations of trained models."""
