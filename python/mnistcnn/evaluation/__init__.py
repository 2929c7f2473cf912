"""Evaluation of models: test results, predictions and explanations."""
