"""Networks to check or report: published ones, modules, and classes given as ``file.py:Class``.

A process of its own imports the file of a class, with a time limit.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mnistcnn.convert.from_torch import from_torch
from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.load import load_model
from mnistcnn.nn.model import Model
from mnistcnn.nn.zoo import create_model
from mnistcnn.training.published_recipes import recipe as published_recipe
from mnistcnn.training.recipes import Recipe

TIME_LIMIT = 60.0  # seconds; the import of torch is included


class ModelFileError(ValueError):
    """A file that cannot be imported, or a class in it from which no network can be created."""


@dataclass(frozen=True)
class Network:
    """Network to check or report.

    Attributes
    ----------
    model
        The network. It is not trained itself.
    parameters
        Number of parameters of the module, including those that ``forward`` does not use.
    recipe
        Published recipe, attribute ``recipe`` of the class, or ``Recipe()``.
    description
        Docstring of the class; "" without one.
    """

    model: Model
    parameters: int
    recipe: Recipe
    description: str = ""


def is_class_reference(target: object) -> bool:
    """Return whether a target is meant as ``file.py:Class``."""
    return isinstance(target, str) and ".py" in target


def network_of(
    target: Model | nn.Module | str, images: ImageSet | None = None, *, time_limit: float = TIME_LIMIT
) -> Network:
    """Return a network: ``file.py:Class``, a published one for the classes and channels of ``images``, or a module."""
    if isinstance(target, str) and is_class_reference(target):
        return network_of_file(target, time_limit=time_limit)
    if isinstance(target, str):
        classes, channels = (10, 1) if images is None else (images.num_classes, images.shape[0])
        model = create_model(target, classes, channels)
        return Network(model, model.parameter_count, published_recipe(target))
    recipe = getattr(type(target), "recipe", None)
    if recipe is not None and not isinstance(recipe, Recipe):
        raise TypeError(f"the attribute `recipe` of {type(target).__name__} must be an mnistcnn.Recipe, got {recipe!r}")
    shape = (1, 28, 28) if images is None else images.shape
    model = target if isinstance(target, Model) else from_torch(target, shape)
    description = inspect.cleandoc(type(target).__dict__.get("__doc__") or "")
    return Network(model, sum(each.numel() for each in target.parameters()), recipe or Recipe(), description)


def network_of_file(reference: str, *, time_limit: float = TIME_LIMIT) -> Network:
    """Import a file in a subprocess, and return the network of a class in it.

    What the file prints is written to stderr. Raise ModelFileError if there is no network, with the reason.
    """
    name, colon, attribute = reference.rpartition(":")
    if not colon or not name.endswith(".py") or not attribute.isidentifier():
        raise ModelFileError(f"the network must be given as file.py:Class, got {reference!r}")
    path = Path(name)
    if not path.is_file():
        raise ModelFileError(f"file {path} does not exist")
    with tempfile.TemporaryDirectory() as folder:
        _run(path, attribute, Path(folder), time_limit)
        report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
        if "error" in report:
            raise ModelFileError(report["error"])
        model = load_model(Path(folder) / "model.safetensors")
    return Network(model, report["parameters"], Recipe.from_dict(report["recipe"]), report["description"])


def _run(path: Path, attribute: str, folder: Path, time_limit: float) -> None:
    """Run the worker, which writes report.json and model.safetensors to ``folder``."""
    command = [sys.executable, "-m", "mnistcnn.course.network_worker", str(path), attribute, str(folder)]
    # stdout is reserved for results. A session of its own, so that processes that the file starts are stopped too.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
    try:
        code: Any = process.wait(time_limit)
    except subprocess.TimeoutExpired:
        raise ModelFileError(
            f"{path} took longer than {time_limit:g} s to import and to create {attribute}; move training below "
            "`if __name__ == '__main__':`"
        ) from None
    finally:
        with suppress(ProcessLookupError):  # no process of the session is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not (folder / "report.json").exists():
        reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = "; there may be too little memory" if code == -signal.SIGKILL else ""
        raise ModelFileError(
            f"{path}: the process that imports it {reason}{hint}; run `python {path}` to find the cause"
        )
