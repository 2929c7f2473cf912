"""Pictures. Every function takes data, draws with matplotlib and never shows by itself.

Without ``ax`` (or ``figure``) a function makes a new figure and returns it; with ``ax`` it draws there and returns
``ax``. In a notebook a new figure appears once, whether it is the last value of its cell or not.
"""

from __future__ import annotations

from mnistcnn.plot.experiments import lr_finder, parameters_against_accuracy, trials
from mnistcnn.plot.galleries import augmented, images, mistakes
from mnistcnn.plot.histories import curves
from mnistcnn.plot.inside import feature_maps, filters, grad_cam, receptive_field, saliency
from mnistcnn.plot.live import LiveCurves
from mnistcnn.plot.roofline import roofline
from mnistcnn.plot.scores import confusion, per_class, reliability

__all__ = [
    "LiveCurves",
    "augmented",
    "confusion",
    "curves",
    "feature_maps",
    "filters",
    "grad_cam",
    "images",
    "lr_finder",
    "mistakes",
    "parameters_against_accuracy",
    "per_class",
    "receptive_field",
    "reliability",
    "roofline",
    "saliency",
    "trials",
]
