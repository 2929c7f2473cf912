"""Plots of data sets, training runs, test results and networks, drawn with matplotlib.

Each function creates and returns a new figure, or draws into ``ax`` and returns ``ax``. No function calls ``show()``.
A notebook displays each new figure once, in the order of the calls, even if it is not the last value of its cell.
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
