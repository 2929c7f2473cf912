"""Explanations of predictions as arrays. `mnistcnn.plot` plots them."""

from mnistcnn.evaluation.explain import (
    Field,
    feature_maps,
    grad_cam,
    receptive_field,
    saliency,
)

__all__ = [
    "Field",
    "feature_maps",
    "grad_cam",
    "receptive_field",
    "saliency",
]
