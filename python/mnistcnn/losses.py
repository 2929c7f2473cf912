"""Losses, and methods that mix the images and labels of a batch."""

from typing import Any

from mnistcnn._internal.lazy import missing
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

# Names in torch.nn -> the equivalent call here
_INSTEAD = {
    "CrossEntropyLoss": "CrossEntropy(label_smoothing=..., class_weights=...)",
    "NLLLoss": "NLL(class_weights=...)",
}


def __getattr__(name: str) -> Any:
    raise missing(__name__, name, _INSTEAD.get(name, ""))
