"""Hints for those who come from PyTorch: which value of ours says what theirs, or the name of theirs, says."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from mnistcnn._internal.values import Value
from mnistcnn.optim.losses import NLL, CrossEntropy

_LOSSES: dict[str, tuple[type[Value], str]] = {
    "CrossEntropyLoss": (CrossEntropy, "cross_entropy"),
    "cross_entropy": (CrossEntropy, "cross_entropy"),
    "NLLLoss": (NLL, "nll"),
    "nll_loss": (NLL, "nll"),
}
_DROPPED = {"reduction": "mean", "ignore_index": -100}  # arguments of torch's losses that ours haven't


def loss_instead(loss: object, _: Mapping[str, type[Value]]) -> str:
    """What to write for a module or function of ``torch.nn``; nothing for what we don't know."""
    kind, word = _LOSSES.get(_torch_name(loss, "torch.nn"), (None, ""))
    if kind is None:
        return ""
    given = {"label_smoothing": getattr(loss, "label_smoothing", 0.0), "class_weights": getattr(loss, "weight", None)}
    differing = {name: value for name, value in given.items() if _plain(value)}
    ours = f"mnistcnn.losses.{_written(kind, differing)}" if differing else repr(word)
    theirs = {name: getattr(loss, name, usual) for name, usual in _DROPPED.items()}
    lost = [f"{name}={value!r}" for name, value in theirs.items() if value != _DROPPED[name]]
    return f"; write loss={ours}{f', which has no {lost[0]}' if lost else ''}"


def optimizer_instead(optimizer: object, ours: Mapping[str, type[Value]]) -> str:
    """What to write for an optimizer of ``torch.optim``, its class, or its name."""
    name = _nearest(optimizer, ours) if isinstance(optimizer, str) else _torch_name(optimizer, "torch.optim")
    if name not in ours:
        return "; torch.optim's work in a loop of your own" if name else ""
    groups = getattr(optimizer, "param_groups", [{}])
    first = {**groups[0]}
    first["lr"] = first.get("initial_lr", first.get("lr"))  # a scheduler has changed it
    note = " (the values of its first group)" if len(groups) > 1 else ""
    return f"; write mnistcnn.optim.{_written(ours[name], first, always=('lr',))}{note}"


def schedule_instead(schedule: object, ours: Mapping[str, type[Value]]) -> str:
    """What to write for a scheduler of ``torch.optim.lr_scheduler``, its class, or its name."""
    if isinstance(schedule, str):
        name = _nearest(schedule, ours)
        return f"; write mnistcnn.optim.{_written(ours[name], {})}" if name else ""
    name = _torch_name(schedule, "torch.optim.lr_scheduler")
    values = {} if isinstance(schedule, type) else dict(getattr(schedule, "__dict__", {}))
    if name == "CosineAnnealingLR":
        name, values = "CosineAnnealing", {"t_max": values.get("T_max"), "eta_min": values.get("eta_min")}
        values["per_step"] = False
    if name == "MultiStepLR" and "milestones" in values:
        values["milestones"] = sorted(values["milestones"].elements())
    if name == "ReduceLROnPlateau" and values.pop("mode", "min") == "max":
        values["monitor"] = "validation_accuracy"
    return f"; write mnistcnn.optim.{_written(ours[name], values)}" if name in ours else ""


def _torch_name(value: object, home: str) -> str:
    """The name of one of torch's classes, of an instance's class, or of a function; "" of anything else."""
    kind = value if hasattr(value, "__name__") else type(value)
    module = str(getattr(kind, "__module__", ""))
    return str(getattr(kind, "__name__", "")) if module == home or module.startswith(f"{home}.") else ""


def _nearest(word: str, names: Mapping[str, object]) -> str:
    """The name that was meant, in whatever case and however long."""
    lower = {name.lower(): name for name in names}
    begun = [name for name in lower if word and name.startswith(word.lower().replace("_", ""))]
    close = begun[:1] or difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[close[0]] if close else ""


def _written(kind: type[Value], values: Mapping[str, Any], always: tuple[str, ...] = ()) -> str:
    """The call that makes a value: what differs from the defaults, and dots for what only the user knows."""
    words = []
    for each in fields(kind):  # type: ignore[arg-type]
        given = _plain(values.get(each.name))
        default = None if each.default is MISSING else each.default
        if given is None and each.default is MISSING:
            words.append(f"{each.name}=...")
        elif each.name in always or (given is not None and given != default):
            words.append(f"{each.name}={default if given is None else given!r}")
    return f"{kind.__name__}({', '.join(words)})"


def _plain(value: Any) -> Any:
    """Numbers, words and lists of them; tensors become numbers, and all else nothing."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return float(f"{value:.6g}")  # a float32 shall not show digits that nobody wrote
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value)
    return value if isinstance(value, bool | int | str) else None
