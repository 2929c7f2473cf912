"""Losses as values: what is made small, and how targets are softened or mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistcnn._native import core


def native(loss: str, label_smoothing: float = 0.0) -> core.Loss:
    """What ``core.train_epoch`` takes, of "nll" or "cross_entropy"."""
    from mnistcnn._native import core

    return core.Loss(loss, label_smoothing=label_smoothing)
