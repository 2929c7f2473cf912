"""One trial as a value that any executor can carry, and the function that runs it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from mnistcnn._internal.native import core
from mnistcnn.convert.from_torch import from_torch
from mnistcnn.data.image_set import ImageSet
from mnistcnn.data.normalization import Normalization
from mnistcnn.evaluation.evaluate import test
from mnistcnn.nn.graph import Row
from mnistcnn.nn.model import Model, frozen
from mnistcnn.nn.zoo import create_model
from mnistcnn.study.folds import Fold
from mnistcnn.study.spool import SetReference
from mnistcnn.study.trials import Trial
from mnistcnn.training.history import EpochRecord, History
from mnistcnn.training.trainer import train

if TYPE_CHECKING:
    from mnistcnn.training.recipes import Recipe

AnySet = ImageSet | SetReference


@dataclass(frozen=True, eq=False)
class Template:
    """A network without its weights: every seed draws its own, except for what is frozen."""

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    name: str
    normalization: Normalization | None
    engine: str
    frozen: tuple[str, ...] = ()  # parameters that are not trained
    kept: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)  # their values, and statistics beside them

    @classmethod
    def of(cls, model: Model | nn.Module | str, images: ImageSet | None = None) -> Template:
        """Of a model, of any module, or of a published network by name; these take what they need from the data."""
        model = _as_model(model, images)
        still = tuple(frozen(model))
        layers, layer_shaped = {name.rpartition(".")[0] for name in still}, model.named_tensors()
        kept = {
            name: layer_shaped.get(name, tensor).detach().cpu().numpy().copy()
            for name, tensor in model.state_dict().items()
            if name in still or (name.rpartition(".")[0] in layers and name not in dict(model.named_parameters()))
        }
        rows = tuple(model.rows)
        return cls(rows, model.input_shape, model.name, model.normalization, model.engine, still, kept)

    def model(self, seed: int) -> Model:
        """A fresh model with the weights of a seed."""
        model = Model.from_rows(
            self.rows, self.input_shape, seed=seed, name=self.name, normalization=self.normalization
        )
        model.engine, model.threads = self.engine, 1
        model.load_state_dict({name: torch.from_numpy(values) for name, values in self.kept.items()}, strict=False)
        for name in self.frozen:
            model.get_parameter(name).requires_grad_(False)
        return model

    @property
    def digest(self) -> str:
        """SHA-256 of all that defines the network."""
        normalization = self.normalization and (self.normalization.mean, self.normalization.std)
        text = json.dumps([self.rows, self.input_shape, normalization, self.frozen])
        digest = hashlib.sha256(text.encode())
        for name in sorted(self.kept):
            digest.update(name.encode() + self.kept[name].tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Job:
    """All that one trial needs: a few kilobytes, when its sets are references."""

    template: Template
    recipe: Recipe
    seed: int
    train_set: AnySet
    test_set: AnySet
    validation: float | AnySet | None = None
    fold: Fold | None = None  # then the train set is the whole, and the test set part of it
    engine: str | None = None
    device: str = "cpu"
    keep_model: bool = False

    def with_sets(self, change: Callable[[AnySet], AnySet]) -> Job:
        """The same job with every set changed."""
        validation = self.validation
        if isinstance(validation, ImageSet | SetReference):
            validation = change(validation)
        return replace(self, train_set=change(self.train_set), test_set=change(self.test_set), validation=validation)


class StoppedError(Exception):
    """A trial was told to stop."""


class Listener:
    """Told of every epoch of every trial that runs in this process; asked whether to go on."""

    every = 8  # steps between two looks

    def __init__(self) -> None:
        self.epochs: list[EpochRecord] = []
        self.stopped = False

    def on_epoch(self, record: EpochRecord) -> None:
        """Called by many threads; appending is atomic."""
        self.epochs.append(record)
        self.on_step()

    def on_step(self, *_: Any) -> None:
        """Ends the trial when all are to end."""
        if self.stopped:
            raise StoppedError("stopped")


def run_job(job: Job, listener: Listener | None = None) -> Trial:
    """Trains one model with one thread and tests it once, after the last epoch."""
    train_set, test_set = _found(job.train_set), _found(job.test_set)
    if job.fold is not None:
        train_set, test_set = job.fold.parts(train_set)
    model = job.template.model(job.seed)
    made_with = _made_with(model, job.engine)
    try:
        history = train(
            model,
            train_set,
            job.recipe.replace(seed=job.seed),
            validation=_found(job.validation) if isinstance(job.validation, SetReference) else job.validation,
            engine=job.engine,
            threads=1,
            device=job.device,
            callbacks=[] if listener is None else [listener],
            progress=False,
        )
    except core.DivergedError as error:
        return Trial(job.seed, model.history or History(model.name, job.seed), None, None, str(error), made_with)
    result = test(model, test_set, engine=job.engine, threads=1, progress=False)
    kept = model if job.keep_model else None
    return Trial(job.seed, history, result.accuracy, result.loss, None, made_with, result, kept)


def _as_model(model: Model | nn.Module | str, images: ImageSet | None) -> Model:
    if isinstance(model, nn.Module) and not isinstance(model, Model):
        model = from_torch(model, images.shape) if isinstance(images, ImageSet) else from_torch(model)
    if isinstance(model, str):
        if not isinstance(images, ImageSet):
            raise TypeError(f"the training data must be an mnistcnn.ImageSet, got {type(images).__name__}")
        model = create_model(model, num_classes=images.num_classes, in_channels=images.shape[0])
    if not isinstance(model, Model):
        call = f"; write {model.__name__}()" if isinstance(model, type) and issubclass(model, nn.Module) else ""
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(
            f"the model must be an mnistcnn.Model, a torch.nn.Module or a name such as 'session7_net', got {what}{call}"
        )
    return model


def _found(images: AnySet) -> ImageSet:
    return images.find() if isinstance(images, SetReference) else images


def _made_with(model: Model, engine: str | None) -> dict[str, Any]:
    """Versions and machine, for the log."""
    from importlib.metadata import version

    return {
        "versions": {
            "mnistcnn": version("mnistcnn"),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "engine": model.native_engine(engine).name,
    }


def _processor() -> str:
    """The processor's name, where the system tells it."""
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
            return names[0] if names else platform.machine()
        except OSError:
            pass
    return platform.machine()
