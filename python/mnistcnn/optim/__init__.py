"""Optimizers, learning rate schedules and weight averaging, with the names and arithmetic of ``torch.optim``."""

from typing import Any

from mnistcnn._internal.lazy import missing
from mnistcnn._internal.values import kinds
from mnistcnn.optim.averaging import (
    EMA,
    SWA,
    Averaging,
    Lookahead,
)
from mnistcnn.optim.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Muon,
    NAdam,
    Optimizer,
    RMSprop,
)
from mnistcnn.optim.schedules import (
    ConstantLR,
    CosineAnnealing,
    ExponentialLR,
    LambdaLR,
    MultiStepLR,
    OneCycleLR,
    Rates,
    ReduceLROnPlateau,
    Schedule,
    SchedulePlan,
    StepLR,
)

__all__ = [
    "EMA",
    "SGD",
    "SWA",
    "Adagrad",
    "Adam",
    "AdamW",
    "Averaging",
    "ConstantLR",
    "CosineAnnealing",
    "ExponentialLR",
    "LambdaLR",
    "Lookahead",
    "MultiStepLR",
    "Muon",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "RMSprop",
    "Rates",
    "ReduceLROnPlateau",
    "Schedule",
    "SchedulePlan",
    "StepLR",
]

# Names in torch.optim.lr_scheduler -> the equivalent call here
_INSTEAD = {"CosineAnnealingLR": "CosineAnnealing(t_max=..., per_step=False)"}


def __getattr__(name: str) -> Any:
    bases: dict[str, type[Any]] = {"optimizers": Optimizer, "schedules": Schedule, "averaging": Averaging}
    advice = "; ".join(f"{what}: {', '.join(sorted(kinds(base)))}" for what, base in bases.items())
    raise missing(__name__, name, _INSTEAD.get(name, ""), advice=advice)
