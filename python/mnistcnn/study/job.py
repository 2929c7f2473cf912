"""Jobs: picklable descriptions of trials, and the function that runs one on any executor."""

from __future__ import annotations

import hashlib
import json
import os
import platform
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
from mnistcnn.nn.graph import Row, Shared
from mnistcnn.nn.model import Model
from mnistcnn.nn.save import frozen
from mnistcnn.nn.zoo import create_model
from mnistcnn.study.folds import Fold
from mnistcnn.study.shared_sets import SetMissingError, SetReference
from mnistcnn.study.trials import Trial
from mnistcnn.training.history import EpochRecord, History
from mnistcnn.training.trainer import train

if TYPE_CHECKING:
    from mnistcnn.training.recipes import Recipe

AnySet = ImageSet | SetReference


@dataclass(frozen=True, eq=False)
class Template:
    """Picklable network structure from which models with new weights are created; frozen parameters keep theirs."""

    nodes: tuple[Row, ...]
    input_shape: tuple[int, ...]
    name: str
    normalization: Normalization | None
    engine: str
    frozen: tuple[str, ...] = ()  # names of parameters that are not trained
    kept: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)  # frozen parameters, buffers of their layers
    shared: tuple[Shared, ...] = ()  # tensors that several layers use

    @classmethod
    def of(cls, model: Model | nn.Module | str, images: ImageSet | None = None) -> Template:
        """Return the template of a model, a ``torch.nn.Module`` or a published network given by name.

        ``images`` provides the input shape of a module, and the number of classes and channels of a named network.
        """
        model = _as_model(model, images)
        frozen_names = tuple(frozen(model))
        layers, layer_shaped = {name.rpartition(".")[0] for name in frozen_names}, model.named_tensors()
        kept = {
            name: layer_shaped.get(name, tensor).detach().cpu().numpy().copy()
            for name, tensor in model.state_dict().items()
            if name in frozen_names
            or (name.rpartition(".")[0] in layers and name not in dict(model.named_parameters()))
        }
        return cls(
            tuple(model.rows),
            model.input_shape,
            model.name,
            model.normalization,
            model.engine,
            frozen_names,
            kept,
            tuple(model.shared),
        )

    def model(self, seed: int) -> Model:
        """Return a new model with weights initialised from ``seed``."""
        model = Model.from_rows(
            self.nodes,
            self.input_shape,
            seed=seed,
            name=self.name,
            normalization=self.normalization,
            shared=self.shared,
        )
        model.engine = self.engine
        model.load_state_dict({name: torch.from_numpy(values) for name, values in self.kept.items()}, strict=False)
        for name in self.frozen:
            model.get_parameter(name).requires_grad_(False)
        return model

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the network's structure, normalization and frozen tensors."""
        normalization = self.normalization and (self.normalization.mean, self.normalization.std)
        shared = [self.shared] if self.shared else []  # left out otherwise, so that digests in older logs stay valid
        text = json.dumps([self.nodes, self.input_shape, normalization, self.frozen, *shared])
        digest = hashlib.sha256(text.encode())
        for name in sorted(self.kept):
            digest.update(name.encode() + self.kept[name].tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Job:
    """Arguments of one trial; pickles to a few kilobytes if its data sets are references."""

    template: Template
    recipe: Recipe
    seed: int
    train_set: AnySet
    test_set: AnySet
    validation: float | AnySet | None = None
    fold: Fold | None = None  # splits `train_set` into training and test set; `test_set` is ignored
    engine: str | None = None
    device: str = "cpu"
    keep_model: bool = False

    def with_sets(self, change: Callable[[AnySet], AnySet]) -> Job:
        """Return a copy of the job with ``change`` applied to each data set."""
        validation = self.validation
        if isinstance(validation, ImageSet | SetReference):
            validation = change(validation)
        return replace(self, train_set=change(self.train_set), test_set=change(self.test_set), validation=validation)


class StoppedError(Exception):
    """Raised in a trial to stop it early."""


class Listener:
    """Callback that records the epochs of all trials of this process, and stops the trials on request."""

    every = 8  # steps between two checks of `stopped`

    def __init__(self) -> None:
        self.epochs: list[EpochRecord] = []
        self.stopped = False

    def on_epoch(self, record: EpochRecord) -> None:
        """Record the epoch. Called from many threads: list.append is atomic."""
        self.epochs.append(record)
        self.on_step()

    def on_step(self, *_: Any) -> None:
        """Raise StoppedError if the trials are to stop."""
        if self.stopped:
            raise StoppedError("the trial was stopped")


def run_job(job: Job, listener: Listener | None = None) -> Trial:
    """Train one model with one thread, and test it once, after the last epoch."""
    train_set, test_set = _loaded(job.train_set), _loaded(job.test_set)
    if job.fold is not None:
        train_set, test_set = job.fold.parts(train_set)
    model = job.template.model(job.seed)
    made_with = _made_with(model, job.engine)
    try:
        history = train(
            model,
            train_set,
            job.recipe.replace(seed=job.seed),
            validation=_loaded(job.validation) if isinstance(job.validation, SetReference) else job.validation,
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


def run_remote_job(job: Job) -> Trial | None:
    """Run a job in a worker. Return None if the worker does not have a data set, so that the set is sent by value.

    The result is not an exception, because some executors replace exceptions by their own.
    """
    try:
        return run_job(job)
    except SetMissingError:
        return None


def _as_model(model: Model | nn.Module | str, images: ImageSet | None) -> Model:
    if isinstance(model, nn.Module) and not isinstance(model, Model):
        model = from_torch(model, images.shape) if isinstance(images, ImageSet) else from_torch(model)
    if isinstance(model, str):
        if not isinstance(images, ImageSet):
            raise TypeError(f"training data must be an mnistcnn.ImageSet, got {type(images).__name__}")
        model = create_model(model, num_classes=images.num_classes, in_channels=images.shape[0])
    if not isinstance(model, Model):
        call = f"; write {model.__name__}()" if isinstance(model, type) and issubclass(model, nn.Module) else ""
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(
            f"model must be an mnistcnn.Model, a torch.nn.Module or a name such as 'session7_net', got {what}{call}"
        )
    return model


def _loaded(images: AnySet) -> ImageSet:
    return images.find() if isinstance(images, SetReference) else images


def _made_with(model: Model, engine: str | None) -> dict[str, Any]:
    """Return versions, machine and engine, for the experiment log."""
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
        "engine": model.native_engine(engine, threads=1).name,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
