"""Callbacks of a training run, and the records that are passed to them."""

from mnistcnn.training.callbacks import (
    Callback,
    StepRecord,
)
from mnistcnn.training.history import (
    EpochRecord,
)
from mnistcnn.training.listeners import (
    CSVLogger,
    EarlyStopping,
    KeepBest,
    MLflow,
    TensorBoard,
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
