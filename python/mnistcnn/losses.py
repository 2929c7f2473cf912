"""Losses, and methods that mix the images and labels of a batch."""

from mnistcnn.optim.losses import (
    NLL,
    CrossEntropy,
    CutMix,
    Distillation,
    Loss,
    Mixing,
    Mixup,
)

__all__ = [
    "NLL",
    "CrossEntropy",
    "CutMix",
    "Distillation",
    "Loss",
    "Mixing",
    "Mixup",
]
