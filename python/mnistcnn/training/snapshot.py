"""Snapshot: the state of a training run after an epoch, as stored in a checkpoint."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch

from mnistcnn._internal.json_data import errors_naming, typed
from mnistcnn.nn.load import model_from_description
from mnistcnn.nn.model import Model
from mnistcnn.nn.save import ModelData, NormalizationData
from mnistcnn.optim import averaging
from mnistcnn.training.history import History
from mnistcnn.training.recipes import Recipe, RecipeData


class CheckpointWarning(UserWarning):
    """Warning about a resumed run: a damaged checkpoint is skipped, or the engine or device differs."""


class SetData(TypedDict):
    """Identity of a data set."""

    images: int
    sha256: str


class _RequiredData(TypedDict):
    model: ModelData
    normalization_given: NormalizationData | None
    recipe: RecipeData
    train_set: SetData
    validation: SetData | None
    history: dict[str, Any]
    made_with: dict[str, str]


class RunData(_RequiredData, total=False):
    """Types of the fields of a run's description in a checkpoint."""

    frozen_given: list[str]  # missing in older files
    frozen: list[str]  # in older files only; now in `model`


@dataclass(frozen=True)
class Snapshot:
    """State of a run after an epoch: JSON data in ``description``, and tensors."""

    epoch: int
    description: dict[str, Any]  # with the fields of `RunData`
    tensors: dict[str, torch.Tensor]

    @property
    def history(self) -> History:
        """Return the history with the losses of the steps, which are stored as a tensor."""
        step_losses = self.tensors["step_losses"].tolist()
        return History.from_dict({**self.description["history"], "step_losses": step_losses})


def checked_snapshot(path: Path, epoch: int, description: Any, tensors: dict[str, torch.Tensor]) -> Snapshot:
    """Return the snapshot of a file. Raise OSError with the path if its description is not that of a run."""
    with errors_naming(path, OSError):
        snapshot = Snapshot(epoch, typed(description, RunData, "run"), tensors)
        steps = tensors.get("step_losses")
        if steps is None or steps.dtype != torch.float64 or steps.ndim != 1:
            raise ValueError("the tensor 'step_losses' must be a vector of float64")
        numbers = [record.epoch for record in snapshot.history]
        if numbers != list(range(1, epoch + 1)):
            raise ValueError(f"its history has the epochs {reprlib.repr(numbers)}, not the epochs 1 to {epoch}")
    return snapshot


def model_of(path: Path, snapshot: Snapshot) -> Model:
    """Return the model of a snapshot, with averaged weights if the validation uses them."""
    model = model_from_description(path, snapshot.description["model"], tensors_under("model.", snapshot.tensors))
    with errors_naming(path, OSError):
        value = Recipe.from_dict({"averaging": snapshot.description["recipe"].get("averaging")}).averaging
    state = tensors_under("run.averaging.", snapshot.tensors)
    if value is not None and state:
        native = averaging.native(value, model)
        if native.used_for_validation:
            restore(native, state, path)
            native.copy_to(model._network, model.tensors())
    return model


def restore(stateful: Any, state: dict[str, torch.Tensor], path: Path, **counts: int) -> None:
    """Restore an object of the core or a callback. Raise OSError with the path if the tensors are not its state."""
    try:
        stateful.restore(state, **counts)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise OSError(f"{path}: the tensors of the checkpoint do not fit the run: {error}") from error


def tensors_under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names start with a prefix, without the prefix."""
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
