"""State of a run: saved after an epoch, and restored so that the resumed run is bit-identical."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn.nn.input_checks import core_tensor
from mnistcnn.nn.load import completed_nodes, normalization_from_description
from mnistcnn.nn.save import frozen, model_description, normalization_description
from mnistcnn.training.snapshot import CheckpointWarning, Snapshot, restore, tensors_under

if TYPE_CHECKING:
    from pathlib import Path

    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model
    from mnistcnn.training.history import History
    from mnistcnn.training.native_run import NativeRun
    from mnistcnn.training.recipes import Recipe


class RunState:
    """Arguments of a run, recorded at its start, and methods to take, check and restore its snapshots."""

    def __init__(
        self, model: Model, recipe: Recipe, sets: tuple[ImageSet, ImageSet | None], callbacks: Iterable[Any]
    ) -> None:
        self._model, self._recipe, self._compared_fields = model, recipe, _compared_fields(recipe)
        self._stateful = [
            each for each in callbacks if all(callable(getattr(each, name, None)) for name in ("state", "restore"))
        ]
        self._train_set, self._validation = (each and _fingerprint(each) for each in sets)
        self._normalization = normalization_description(model.normalization)
        self._frozen = frozen(model)

    def snapshot(self, history: History, native: NativeRun) -> Snapshot:
        """Return a snapshot of the current state."""
        model = self._model
        description = {
            "model": model_description(model),
            "normalization_given": self._normalization,
            "frozen_given": self._frozen,
            "recipe": self._compared_fields,
            "train_set": self._train_set,
            "validation": self._validation,
            "history": {**history.to_dict(), "step_losses": []},
            "made_with": {"torch": torch.__version__, **native.arithmetic()},
        }
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        tensors |= {f"run.{name}": tensor for name, tensor in native.state().items()}
        for index, callback in enumerate(self._stateful):
            tensors |= {f"callback.{index}.{name}": tensor for name, tensor in callback.state().items()}
        tensors["step_losses"] = torch.tensor(history.step_losses, dtype=torch.float64)
        return Snapshot(len(history), description, tensors)

    def check(self, snapshot: Snapshot, folder: str, native: NativeRun) -> None:
        """Raise ValueError if the network, the data sets or the recipe differ from those of the snapshot.

        A different engine or device is allowed with a warning, since only the rounding differs.
        """
        stored = snapshot.description
        before = _as_json(stored["model"] | {"nodes": completed_nodes(stored["model"]["nodes"])})
        network = _as_json(model_description(self._model))
        differences = []
        for what, name in (("the network's input shape", "input_shape"), ("the network", "nodes")):
            differences += _difference(what, before[name], network[name])
        differences += _difference("the list of shared tensors", before.get("shared"), network.get("shared"))
        for name, now in (("train_set", self._train_set), ("validation", self._validation)):
            differences += _difference(name, stored[name], now)
        given = _as_json(self._normalization)
        if given != stored["model"]["normalization"]:
            differences += _difference("the model's normalization", stored["normalization_given"], given)
        frozen_then = stored.get("frozen_given", self._frozen)  # missing in older files
        differences += _difference("the list of frozen parameters", frozen_then, self._frozen)
        differences += self._recipe_differences(stored["recipe"], snapshot.epoch)
        if differences:
            raise ValueError(
                f"the run in {folder} cannot be resumed with other settings: {'; '.join(differences)}. Pass the same "
                "settings, or another directory"
            )
        _warn_if_engine_differs(folder, stored["made_with"], native.arithmetic())

    def _recipe_differences(self, stored: dict[str, Any], done: int) -> list[str]:
        """Return the differences. More epochs are allowed if the schedule does not depend on their number."""
        given = self._compared_fields
        depends = self._recipe.schedule is not None and self._recipe.schedule.depends_on_epochs
        if not depends and given["epochs"] >= done:
            stored = {**stored, "epochs": given["epochs"]}
        names = stored | given
        return [each for name in names for each in _field_differences(name, stored.get(name), given.get(name))]

    def restore(self, snapshot: Snapshot, path: Path, history: History, native: NativeRun) -> None:
        """Restore the snapshot that was read from ``path``; ``native.begin`` must have been called."""
        model = self._model
        model.normalization = normalization_from_description(snapshot.description["model"]["normalization"])
        try:
            model.load_state_dict(tensors_under("model.", snapshot.tensors))
        except RuntimeError as error:
            raise OSError(f"{path}: the weights in the checkpoint do not fit the model: {error}") from None
        stored_model = snapshot.description["model"]
        still_frozen = stored_model.get("frozen", snapshot.description.get("frozen", self._frozen))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in still_frozen)
        stored = snapshot.history
        state = tensors_under("run.", snapshot.tensors)
        restore(native, state, path, epochs=snapshot.epoch, steps=len(stored.step_losses))
        for index, callback in enumerate(self._stateful):
            restore(callback, tensors_under(f"callback.{index}.", snapshot.tensors), path)
        history.epochs[:] = stored.epochs
        history.step_losses[:] = stored.step_losses


def _warn_if_engine_differs(folder: str, then: dict[str, str], now: dict[str, str]) -> None:
    others = [name for name in now if then.get(name, now[name]) != now[name]]
    if others:
        changes = ", ".join(f"{name} {then[name]!r} (now {now[name]!r})" for name in others)
        warnings.warn(
            f"the run in {folder} used {changes}; it is resumed, but its rounding will differ from that of an "
            "uninterrupted run",
            CheckpointWarning,
            stacklevel=7,
        )


def _compared_fields(recipe: Recipe) -> Any:
    described = _as_json(recipe.describe())
    described.pop("about", None)
    return described


def _as_json(value: Any) -> Any:
    """Return the value after a JSON round trip; tuples become lists."""
    return json.loads(json.dumps(value))


def _fingerprint(images: ImageSet) -> dict[str, Any]:
    digest = hashlib.sha256(core_tensor(images.images).numpy().data)
    digest.update(core_tensor(images.labels).numpy().data)
    return {"images": len(images), "sha256": digest.hexdigest()}


def _difference(what: str, then: Any, now: Any) -> list[str]:
    """Return a list with a description of the difference, or an empty list if there is none."""
    if then == now:
        return []
    shown: Callable[[Any], str] = _shown_nodes if what == "the network" else _shown
    return [f"{what} was {shown(then)} and is now {shown(now)}"]


def _field_differences(name: str, then: Any, now: Any) -> list[str]:
    """Return the differences of a field of the recipe, such as ``optimizer.lr`` or ``augment[0].degrees``."""
    if isinstance(then, dict) and isinstance(now, dict):
        if then.keys() == now.keys() and then.get("kind") == now.get("kind"):
            return [each for key in then for each in _field_differences(f"{name}.{key}", then[key], now[key])]
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        pairs = enumerate(zip(then, now, strict=True))
        if all(isinstance(value, dict) for value in [*then, *now]):
            return [each for index, pair in pairs for each in _field_differences(f"{name}[{index}]", *pair)]
    return _difference(name, then, now)


def _shown_nodes(nodes: Any) -> str:
    digest = hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:8]
    return f"a graph of {len(nodes)} nodes ({digest})"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "sha256" in value:
        return f"{value['images']:,} images ({value['sha256'][:8]})"
    if isinstance(value, dict) and "kind" in value:
        inner = ", ".join(f"{name}={_shown(each)}" for name, each in value.items() if name != "kind")
        return f"{value['kind']}({inner})"
    return repr(value)
