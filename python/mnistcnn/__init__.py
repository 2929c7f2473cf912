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

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from mnistcnn import course as course
    from mnistcnn import explain as explain
    from mnistcnn import plot as plot
    from mnistcnn import profile as profile
    from mnistcnn._core import DivergedError as DivergedError
    from mnistcnn.augmentation import Affine as Affine
    from mnistcnn.augmentation import CenterCrop as CenterCrop
    from mnistcnn.augmentation import ColorJitter as ColorJitter
    from mnistcnn.augmentation import Cutout as Cutout
    from mnistcnn.augmentation import ElasticDistortion as ElasticDistortion
    from mnistcnn.augmentation import GaussianNoise as GaussianNoise
    from mnistcnn.augmentation import MorphologicalThickness as MorphologicalThickness
    from mnistcnn.augmentation import Perspective as Perspective
    from mnistcnn.augmentation import RandomApply as RandomApply
    from mnistcnn.augmentation import RandomCrop as RandomCrop
    from mnistcnn.augmentation import RandomErasing as RandomErasing
    from mnistcnn.augmentation import Resize as Resize
    from mnistcnn.augmentation import Rotation as Rotation
    from mnistcnn.augmented import augment as augment
    from mnistcnn.augmented import drawn as drawn
    from mnistcnn.averaging import EMA as EMA
    from mnistcnn.averaging import SWA as SWA
    from mnistcnn.averaging import Lookahead as Lookahead
    from mnistcnn.bridge.accelerate import accelerate as accelerate
    from mnistcnn.bridge.accelerate import remove_acceleration as remove_acceleration
    from mnistcnn.bridge.errors import ConversionError as ConversionError
    from mnistcnn.bridge.from_torch import from_torch as from_torch
    from mnistcnn.bridge.onnx import export_onnx as export_onnx
    from mnistcnn.callbacks import StepRecord as StepRecord
    from mnistcnn.checkpoints import Checkpoint as Checkpoint
    from mnistcnn.checkpoints import CheckpointWarning as CheckpointWarning
    from mnistcnn.datasets import available as available
    from mnistcnn.datasets import load as load
    from mnistcnn.drawing import as_digit as as_digit
    from mnistcnn.drawing import as_digits as as_digits
    from mnistcnn.evaluation import predict as predict
    from mnistcnn.evaluation import test as test
    from mnistcnn.files import load_model as load_model
    from mnistcnn.history import EpochRecord as EpochRecord
    from mnistcnn.history import History as History
    from mnistcnn.image_set import ImageSet as ImageSet
    from mnistcnn.layers import ELU as ELU
    from mnistcnn.layers import GELU as GELU
    from mnistcnn.layers import AdaptiveAvgPool2d as AdaptiveAvgPool2d
    from mnistcnn.layers import Add as Add
    from mnistcnn.layers import Amax as Amax
    from mnistcnn.layers import AvgPool2d as AvgPool2d
    from mnistcnn.layers import BatchNorm1d as BatchNorm1d
    from mnistcnn.layers import BatchNorm2d as BatchNorm2d
    from mnistcnn.layers import Branches as Branches
    from mnistcnn.layers import Concat as Concat
    from mnistcnn.layers import Conv2d as Conv2d
    from mnistcnn.layers import Detach as Detach
    from mnistcnn.layers import Dropout as Dropout
    from mnistcnn.layers import Dropout2d as Dropout2d
    from mnistcnn.layers import Expand as Expand
    from mnistcnn.layers import Flatten as Flatten
    from mnistcnn.layers import GroupNorm as GroupNorm
    from mnistcnn.layers import Hardswish as Hardswish
    from mnistcnn.layers import InstanceNorm2d as InstanceNorm2d
    from mnistcnn.layers import LayerNorm as LayerNorm
    from mnistcnn.layers import LeakyReLU as LeakyReLU
    from mnistcnn.layers import Linear as Linear
    from mnistcnn.layers import LogSoftmax as LogSoftmax
    from mnistcnn.layers import MaxPool2d as MaxPool2d
    from mnistcnn.layers import Mish as Mish
    from mnistcnn.layers import Multiply as Multiply
    from mnistcnn.layers import Node as Node
    from mnistcnn.layers import Pad as Pad
    from mnistcnn.layers import Permute as Permute
    from mnistcnn.layers import PReLU as PReLU
    from mnistcnn.layers import Reciprocal as Reciprocal
    from mnistcnn.layers import ReLU as ReLU
    from mnistcnn.layers import ReLU6 as ReLU6
    from mnistcnn.layers import Reshape as Reshape
    from mnistcnn.layers import Residual as Residual
    from mnistcnn.layers import ScaleShift as ScaleShift
    from mnistcnn.layers import Sigmoid as Sigmoid
    from mnistcnn.layers import SiLU as SiLU
    from mnistcnn.layers import Slice as Slice
    from mnistcnn.layers import Softmax as Softmax
    from mnistcnn.layers import Softplus as Softplus
    from mnistcnn.layers import Tanh as Tanh
    from mnistcnn.listeners import CSVLogger as CSVLogger
    from mnistcnn.listeners import EarlyStopping as EarlyStopping
    from mnistcnn.listeners import KeepBest as KeepBest
    from mnistcnn.listeners import MLflow as MLflow
    from mnistcnn.listeners import TensorBoard as TensorBoard
    from mnistcnn.loader import DataLoader as DataLoader
    from mnistcnn.losses import NLL as NLL
    from mnistcnn.losses import CrossEntropy as CrossEntropy
    from mnistcnn.losses import CutMix as CutMix
    from mnistcnn.losses import Distillation as Distillation
    from mnistcnn.losses import Mixup as Mixup
    from mnistcnn.lr_finder import LRFinder as LRFinder
    from mnistcnn.lr_finder import find_lr as find_lr
    from mnistcnn.model import EngineWarning as EngineWarning
    from mnistcnn.model import Model as Model
    from mnistcnn.normalization import Normalization as Normalization
    from mnistcnn.optimizers import SGD as SGD
    from mnistcnn.optimizers import Adagrad as Adagrad
    from mnistcnn.optimizers import Adam as Adam
    from mnistcnn.optimizers import AdamW as AdamW
    from mnistcnn.optimizers import Muon as Muon
    from mnistcnn.optimizers import NAdam as NAdam
    from mnistcnn.optimizers import RMSprop as RMSprop
    from mnistcnn.recipes import About as About
    from mnistcnn.recipes import Recipe as Recipe
    from mnistcnn.recipes import recipe as recipe
    from mnistcnn.results import TestResult as TestResult
    from mnistcnn.schedules import ConstantLR as ConstantLR
    from mnistcnn.schedules import CosineAnnealing as CosineAnnealing
    from mnistcnn.schedules import ExponentialLR as ExponentialLR
    from mnistcnn.schedules import LambdaLR as LambdaLR
    from mnistcnn.schedules import MultiStepLR as MultiStepLR
    from mnistcnn.schedules import OneCycleLR as OneCycleLR
    from mnistcnn.schedules import ReduceLROnPlateau as ReduceLROnPlateau
    from mnistcnn.schedules import Schedule as Schedule
    from mnistcnn.schedules import StepLR as StepLR
    from mnistcnn.study.comparison import Comparison as Comparison
    from mnistcnn.study.comparison import compare as compare
    from mnistcnn.study.cross_validation import cross_validate as cross_validate
    from mnistcnn.study.ensemble import Ensemble as Ensemble
    from mnistcnn.study.ensemble import shifted_predictions as shifted_predictions
    from mnistcnn.study.log import Experiments as Experiments
    from mnistcnn.study.log import experiments as experiments
    from mnistcnn.study.runner import run_trials as run_trials
    from mnistcnn.study.sweep import Sweep as Sweep
    from mnistcnn.study.sweep import sweep as sweep
    from mnistcnn.study.trials import Trial as Trial
    from mnistcnn.study.trials import Trials as Trials
    from mnistcnn.summary import Summary as Summary
    from mnistcnn.training import Trainer as Trainer
    from mnistcnn.training import train as train
    from mnistcnn.zoo import create_model as create_model
    from mnistcnn.zoo import list_models as list_models

# Where each public name lives. Imported when first used, so that `import mnistcnn` and the command line stay quick.
_HOMES = {
    "_core": ("DivergedError",),
    "augmentation": (
        *(
            "Affine",
            "CenterCrop",
            "ColorJitter",
            "Cutout",
            "ElasticDistortion",
            "GaussianNoise",
            "MorphologicalThickness",
        ),
        *("Perspective", "RandomApply", "RandomCrop", "RandomErasing", "Resize", "Rotation"),
    ),
    "augmented": ("augment", "drawn"),
    "averaging": ("EMA", "SWA", "Lookahead"),
    "bridge.accelerate": ("accelerate", "remove_acceleration"),
    "bridge.errors": ("ConversionError",),
    "bridge.from_torch": ("from_torch",),
    "bridge.onnx": ("export_onnx",),
    "datasets": ("available", "load"),
    "drawing": ("as_digit", "as_digits"),
    "callbacks": ("StepRecord",),
    "checkpoints": ("Checkpoint", "CheckpointWarning"),
    "evaluation": ("predict", "test"),
    "files": ("load_model",),
    "history": ("EpochRecord", "History"),
    "image_set": ("ImageSet",),
    "layers": (
        *(
            "Conv2d",
            "Linear",
            "BatchNorm2d",
            "BatchNorm1d",
            "InstanceNorm2d",
            "GroupNorm",
            "LayerNorm",
            "MaxPool2d",
        ),
        *(
            "AvgPool2d",
            "AdaptiveAvgPool2d",
            "Flatten",
            "ReLU",
            "LeakyReLU",
            "Tanh",
            "Sigmoid",
            "GELU",
            "SiLU",
            "ELU",
        ),
        *(
            "PReLU",
            "ReLU6",
            "Hardswish",
            "Mish",
            "Softplus",
            "Reciprocal",
            "Dropout",
            "Dropout2d",
            "LogSoftmax",
            "Softmax",
            "Add",
            "Concat",
            "Permute",
        ),
        *("Slice", "Amax", "Expand", "Detach"),
        *("ScaleShift", "Multiply", "Reshape", "Pad", "Node", "Residual", "Branches"),
    ),
    "loader": ("DataLoader",),
    "listeners": ("CSVLogger", "EarlyStopping", "KeepBest", "MLflow", "TensorBoard"),
    "losses": ("NLL", "CrossEntropy", "CutMix", "Distillation", "Mixup"),
    "lr_finder": ("LRFinder", "find_lr"),
    "model": ("EngineWarning", "Model"),
    "normalization": ("Normalization",),
    "optimizers": ("SGD", "Adagrad", "Adam", "AdamW", "Muon", "NAdam", "RMSprop"),
    "recipes": ("About", "Recipe", "recipe"),
    "results": ("TestResult",),
    "schedules": (
        "ConstantLR",
        "CosineAnnealing",
        "ExponentialLR",
        "LambdaLR",
        "MultiStepLR",
        "OneCycleLR",
        "ReduceLROnPlateau",
        "Schedule",
        "StepLR",
    ),
    "study.comparison": ("Comparison", "compare"),
    "study.cross_validation": ("cross_validate",),
    "study.ensemble": ("Ensemble", "shifted_predictions"),
    "study.log": ("Experiments", "experiments"),
    "study.runner": ("run_trials",),
    "study.sweep": ("Sweep", "sweep"),
    "study.trials": ("Trial", "Trials"),
    "summary": ("Summary",),
    "training": ("Trainer", "train"),
    "zoo": ("create_model", "list_models"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("bench", "course", "explain", "plot", "profile")

_EXTRAS = ("sklearn",)  # modules that need more than is installed by default: not part of `import *`
__all__ = [*sorted((*_HOME_OF, *_MODULES)), "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # asked of the installation, which takes longer than all else here
        from importlib.metadata import version

        return version("mnistcnn")
    if name in _MODULES or name in _EXTRAS:
        return import_module(f"mnistcnn.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'mnistcnn' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    home = _HOME_OF[name]
    value = getattr(
        import_module("mnistcnn._native").core if home == "_core" else import_module(f"mnistcnn.{home}"), name
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
