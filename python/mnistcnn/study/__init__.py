"""Experiments over several runs: trials, comparisons, cross-validation, ensembles, sweeps and the experiment log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistcnn._internal.lazy import Exports, missing

if TYPE_CHECKING:
    from mnistcnn.study.comparison import Comparison as Comparison
    from mnistcnn.study.comparison import compare as compare
    from mnistcnn.study.cross_validation import cross_validate as cross_validate
    from mnistcnn.study.ensemble import Ensemble as Ensemble
    from mnistcnn.study.ensemble import shifted_predictions as shifted_predictions
    from mnistcnn.study.log import Experiments as Experiments
    from mnistcnn.study.log import experiments as experiments
    from mnistcnn.study.runner import run_trials as run_trials
    from mnistcnn.study.search import Sweep as Sweep
    from mnistcnn.study.search import sweep as sweep
    from mnistcnn.study.trials import Trial as Trial
    from mnistcnn.study.trials import Trials as Trials

_EXPORTS = Exports(
    "mnistcnn.study",
    {
        "comparison": ("Comparison", "compare"),
        "cross_validation": ("cross_validate",),
        "ensemble": ("Ensemble", "shifted_predictions"),
        "log": ("Experiments", "experiments"),
        "runner": ("run_trials",),
        "search": ("Sweep", "sweep"),
        "trials": ("Trial", "Trials"),
    },
)
__all__ = [*_EXPORTS.names]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS.names:
        raise missing(__name__, name)
    value = globals()[name] = _EXPORTS.load(name)
    return value


def __dir__() -> list[str]:
    return __all__
