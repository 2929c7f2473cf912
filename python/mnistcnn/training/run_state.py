"""The state of a run: taken after an epoch, and put back so that the run goes on with the same bits."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn._internal.tables import without_nan
from mnistcnn.nn.input_checks import core_tensor
from mnistcnn.nn.load import completed_nodes, normalization_from_description
from mnistcnn.nn.model import frozen
from mnistcnn.nn.save import model_description, normalization_description
from mnistcnn.training.history import History
from mnistcnn.training.snapshot import CheckpointWarning, Snapshot, tensors_under

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model
    from mnistcnn.training.native_run import NativeRun
    from mnistcnn.training.recipes import Recipe


class RunState:
    """What decides a run beside its state, and how its state is taken and put back."""

    def __init__(
        self, model: Model, recipe: Recipe, sets: tuple[ImageSet, ImageSet | None], callbacks: Iterable[Any]
    ) -> None:
        self._model, self._recipe, self._deciding = model, recipe, _deciding(recipe)
        self._stateful = [each for each in callbacks if callable(getattr(each, "state", None))]
        self._train_set, self._validation = (each and _fingerprint(each) for each in sets)
        self._normalization = normalization_description(model.normalization)
        self._frozen = frozen(model)

    def snapshot(self, history: History, native: NativeRun) -> Snapshot:
        """The run as it is now."""
        model = self._model
        description = {
            "model": model_description(model),
            "normalization_given": self._normalization,
            "frozen_given": self._frozen,
            "frozen": frozen(model),
            "recipe": self._deciding,
            "train_set": self._train_set,
            "validation": self._validation,
            "history": without_nan({**history.to_dict(), "step_losses": []}),
            "made_with": {"torch": torch.__version__, **native.arithmetic()},
        }
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        tensors |= {f"run.{name}": tensor for name, tensor in native.state().items()}
        for index, callback in enumerate(self._stateful):
            tensors |= {f"callback.{index}.{name}": tensor for name, tensor in callback.state().items()}
        tensors["step_losses"] = torch.tensor(history.step_losses, dtype=torch.float64)
        return Snapshot(len(history), description, tensors)

    def check(self, snapshot: Snapshot, folder: str, native: NativeRun) -> None:
        """Refuses to go on with another network, other images or another recipe than those of the snapshot.

        Another engine or device is welcome, with a warning: the machine may have changed, and it is the same run but
        for its last digits.
        """
        stored = snapshot.description
        before = stored["model"] | {"nodes": _plain(completed_nodes(stored["model"]["nodes"]))}
        network = _plain(model_description(self._model))
        differences = []
        for what, name in (("the network's input shape", "input_shape"), ("the network", "nodes")):
            differences += _difference(what, before[name], network[name])
        differences += _difference("the list of shared tensors", before.get("shared"), network.get("shared"))
        for name, now in (("train_set", self._train_set), ("validation", self._validation)):
            differences += _difference(name, stored[name], now)
        given = _plain(self._normalization)
        if given != stored["model"]["normalization"]:
            differences += _difference("the model's normalization", stored["normalization_given"], given)
        frozen_then = stored.get("frozen_given", self._frozen)  # version 1 did not always say
        differences += _difference("the list of frozen parameters", frozen_then, self._frozen)
        differences += self._recipe_differences(stored["recipe"], snapshot.epoch)
        if differences:
            raise ValueError(
                f"the run in {folder} can't be resumed, because it was another one: {'; '.join(differences)}. Give it "
                "what it was started with, or name another folder"
            )
        _tell_of_another_engine(folder, stored["made_with"], native.arithmetic())

    def _recipe_differences(self, stored: dict[str, Any], done: int) -> list[str]:
        """More epochs are welcome where that would not have changed those that are done."""
        wanted = self._deciding
        depends = self._recipe.schedule is not None and self._recipe.schedule.depends_on_epochs
        if not depends and wanted["epochs"] >= done:
            stored = {**stored, "epochs": wanted["epochs"]}
        return [each for name in stored | wanted for each in _difference(name, stored.get(name), wanted.get(name))]

    def restore(self, snapshot: Snapshot, history: History, native: NativeRun) -> None:
        """The run as it was then; ``native`` has begun."""
        model = self._model
        model.normalization = normalization_from_description(snapshot.description["model"]["normalization"])
        model.load_state_dict(tensors_under("model.", snapshot.tensors))
        still_frozen = snapshot.description.get("frozen", self._frozen)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in still_frozen)
        steps = snapshot.tensors["step_losses"]
        native.restore(tensors_under("run.", snapshot.tensors), epochs=snapshot.epoch, steps=len(steps))
        for index, callback in enumerate(self._stateful):
            callback.restore(tensors_under(f"callback.{index}.", snapshot.tensors))
        stored = History.from_dict(snapshot.description["history"])
        history.epochs[:] = stored.epochs
        history.step_losses[:] = steps.tolist()


def _tell_of_another_engine(folder: str, then: dict[str, str], now: dict[str, str]) -> None:
    others = [name for name in now if then.get(name, now[name]) != now[name]]
    if others:
        words = ", ".join(f"{name} {then[name]!r} (now {now[name]!r})" for name in others)
        warnings.warn(
            f"the run in {folder} was made with {words}; it goes on, but its last digits will not be those of a run "
            "that was never interrupted",
            CheckpointWarning,
            stacklevel=7,
        )


def _deciding(recipe: Recipe) -> dict[str, Any]:
    described = _plain(recipe.described())
    described.pop("about", None)
    plain: dict[str, Any] = described
    return plain


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def _fingerprint(images: ImageSet) -> dict[str, Any]:
    digest = hashlib.sha256(core_tensor(images.images).numpy().data)
    digest.update(core_tensor(images.labels).numpy().data)
    return {"images": len(images), "sha256": digest.hexdigest()}


def _difference(what: str, then: Any, now: Any) -> list[str]:
    """What differs, in words: one sentence or none."""
    if then == now:
        return []
    say: Callable[[Any], str] = _nodes_in_words if what == "the network" else _in_words
    return [f"{what} was {say(then)} and is now {say(now)}"]


def _nodes_in_words(nodes: Any) -> str:
    digest = hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:8]
    return f"a graph of {len(nodes)} nodes ({digest})"


def _in_words(value: Any) -> str:
    if isinstance(value, dict) and "sha256" in value:
        return f"{value['images']:,} images ({value['sha256'][:8]})"
    if isinstance(value, dict) and "kind" in value:
        inner = ", ".join(f"{name}={_in_words(each)}" for name, each in value.items() if name != "kind")
        return f"{value['kind']}({inner})"
    return repr(value)
