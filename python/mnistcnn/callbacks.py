"""Callbacks of a training run, and the records that are passed to them."""

from mnistcnn.training.builtin_callbacks import (
    CSVLogger,
    EarlyStopping,
    KeepBest,
    MLflow,
    TensorBoard,
)
from mnistcnn.training.callbacks import (
    Callback,
    StepRecord,
)
from mnistcnn.training.history import (
    EpochRecord,
)

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "EpochRecord",
    "KeepBest",
    "MLflow",
    "StepRecord",
    "TensorBoard",
]
