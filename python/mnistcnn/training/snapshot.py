"""Snapshot: the state of a training run after an epoch, as stored in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mnistcnn._internal.plain_values import from_plain
from mnistcnn.nn.load import model_from_description
from mnistcnn.nn.model import Model
from mnistcnn.optim import averaging


class CheckpointWarning(UserWarning):
    """Warning about a resumed run: a damaged checkpoint is skipped, or the engine or device differs."""


@dataclass(frozen=True)
class Snapshot:
    """State of a run after an epoch: JSON data in ``description``, and tensors."""

    epoch: int
    description: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def model_of(path: Path, snapshot: Snapshot) -> Model:
    """Return the model of a snapshot, with averaged weights if the validation uses them."""
    model = model_from_description(path, snapshot.description["model"], tensors_under("model.", snapshot.tensors))
    value = from_plain(snapshot.description["recipe"]["averaging"], "averaging")
    state = tensors_under("run.averaging.", snapshot.tensors)
    if value is not None and state:
        native = averaging.native(value, model)
        if native.used_for_validation:
            native.restore(state)
            native.copy_to(model._network, model.tensors())
    return model


def tensors_under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names start with a prefix, without the prefix."""
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
