"""Small image classifiers on MNIST, trained natively.

>>> import mnistcnn
>>> train_set, test_set = mnistcnn.load("digits")
>>> model = mnistcnn.create_model("session7_net", seed=1)
>>> history = mnistcnn.train(model, train_set[:2000], validation=test_set[:500], epochs=1, progress=False)
>>> result = mnistcnn.test(model, test_set[:500], progress=False)
>>> result.count
500
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.lazy import Exports, missing

if TYPE_CHECKING:
    __version__: str
    from mnistcnn import callbacks as callbacks
    from mnistcnn import course as course
    from mnistcnn import explain as explain
    from mnistcnn import layers as layers
    from mnistcnn import losses as losses
    from mnistcnn import optim as optim
    from mnistcnn import plot as plot
    from mnistcnn import profile as profile
    from mnistcnn import study as study
    from mnistcnn import transforms as transforms
    from mnistcnn._internal.native import DivergedError as DivergedError
    from mnistcnn.convert.accelerate import accelerate as accelerate
    from mnistcnn.convert.accelerate import remove_acceleration as remove_acceleration
    from mnistcnn.convert.errors import ConversionError as ConversionError
    from mnistcnn.convert.from_torch import from_torch as from_torch
    from mnistcnn.course.assignment import check as check
    from mnistcnn.data.datasets import available as available
    from mnistcnn.data.datasets import load as load
    from mnistcnn.data.digitize import as_digit as as_digit
    from mnistcnn.data.digitize import as_digits as as_digits
    from mnistcnn.data.image_set import ImageSet as ImageSet
    from mnistcnn.data.loader import DataLoader as DataLoader
    from mnistcnn.data.normalization import Normalization as Normalization
    from mnistcnn.evaluation.evaluate import predict as predict
    from mnistcnn.evaluation.evaluate import test as test
    from mnistcnn.evaluation.results import TestResult as TestResult
    from mnistcnn.export.c_header import export_c as export_c
    from mnistcnn.export.html_page import export_html as export_html
    from mnistcnn.export.onnx import export_onnx as export_onnx
    from mnistcnn.nn.engine_choice import EngineWarning as EngineWarning
    from mnistcnn.nn.load import load_model as load_model
    from mnistcnn.nn.model import Model as Model
    from mnistcnn.nn.zoo import create_model as create_model
    from mnistcnn.nn.zoo import list_models as list_models
    from mnistcnn.study.comparison import Comparison as Comparison
    from mnistcnn.study.comparison import compare as compare
    from mnistcnn.study.cross_validation import cross_validate as cross_validate
    from mnistcnn.study.ensemble import Ensemble as Ensemble
    from mnistcnn.study.log import experiments as experiments
    from mnistcnn.study.runner import run_trials as run_trials
    from mnistcnn.study.search import sweep as sweep
    from mnistcnn.study.trials import Trials as Trials
    from mnistcnn.training.checkpoints import Checkpoint as Checkpoint
    from mnistcnn.training.history import History as History
    from mnistcnn.training.lr_finder import find_lr as find_lr
    from mnistcnn.training.published_recipes import recipe as recipe
    from mnistcnn.training.recipes import Recipe as Recipe
    from mnistcnn.training.snapshot import CheckpointWarning as CheckpointWarning
    from mnistcnn.training.trainer import Trainer as Trainer
    from mnistcnn.training.trainer import train as train

# The module that defines each public name. It is imported on first use, so that `import mnistcnn` and
# `mnistcnn --help` stay quick.
_EXPORTS = Exports(
    "mnistcnn",
    {
        "_internal.native": ("DivergedError",),
        "convert.accelerate": ("accelerate", "remove_acceleration"),
        "convert.errors": ("ConversionError",),
        "convert.from_torch": ("from_torch",),
        "course.assignment": ("check",),
        "data.datasets": ("available", "load"),
        "data.digitize": ("as_digit", "as_digits"),
        "data.image_set": ("ImageSet",),
        "data.loader": ("DataLoader",),
        "data.normalization": ("Normalization",),
        "evaluation.evaluate": ("predict", "test"),
        "evaluation.results": ("TestResult",),
        "export.c_header": ("export_c",),
        "export.html_page": ("export_html",),
        "export.onnx": ("export_onnx",),
        "nn.engine_choice": ("EngineWarning",),
        "nn.load": ("load_model",),
        "nn.model": ("Model",),
        "nn.zoo": ("create_model", "list_models"),
        "study.comparison": ("Comparison", "compare"),
        "study.cross_validation": ("cross_validate",),
        "study.ensemble": ("Ensemble",),
        "study.log": ("experiments",),
        "study.runner": ("run_trials",),
        "study.search": ("sweep",),
        "study.trials": ("Trials",),
        "training.checkpoints": ("Checkpoint",),
        "training.history": ("History",),
        "training.lr_finder": ("find_lr",),
        "training.published_recipes": ("recipe",),
        "training.recipes": ("Recipe",),
        "training.snapshot": ("CheckpointWarning",),
        "training.trainer": ("Trainer", "train"),
    },
)
_NAMESPACES = (
    "callbacks",
    "course",
    "explain",
    "layers",
    "losses",
    "optim",
    "plot",
    "profile",
    "study",
    "transforms",
    "sklearn",
)

# `from mnistcnn import *` leaves out the namespaces and DataLoader: `optim` and `DataLoader` would replace torch's.
__all__ = [*(name for name in _EXPORTS.names if name != "DataLoader"), "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # importlib.metadata is slow to import
        from importlib.metadata import version

        return version("mnistcnn")
    if name in _NAMESPACES:
        return import_module(f"mnistcnn.{name}")
    if name in _EXPORTS.names:
        value = globals()[name] = _EXPORTS.load(name)
        return value
    raise missing("mnistcnn", name, _namespace_of(name))


def _namespace_of(name: str) -> str:
    """Return the name inside its namespace, such as ``layers.Conv2d`` for ``Conv2d``; "" if there is none."""
    if name[0] == "_":  # tools such as IPython ask for these
        return ""
    for namespace in ("layers", "optim", "losses", "transforms", "callbacks", "study"):
        module = import_module(f"mnistcnn.{namespace}")
        if name in (*module.__all__, *getattr(module, "_INSTEAD", ())):
            return f"{namespace}.{getattr(module, '_INSTEAD', {}).get(name, name)}"
    return ""


def __dir__() -> list[str]:
    return [*__all__, "DataLoader", *_NAMESPACES]
