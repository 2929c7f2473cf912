"""Hints for users of PyTorch and Keras: the call of mnistcnn that is equivalent to an object, class or name."""

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
_KEYWORDS = {
    "metrics": "; the history always has loss and accuracy, and mnistcnn.test(model, test_set).report() returns "
    "precision, recall and F1.",
    "verbose": "; train, test, predict and the studies have progress=True or progress=False.",
}
_UNSUPPORTED = {"reduction": "mean", "ignore_index": -100}  # defaults of arguments that only torch's losses have


def loss_hint(loss: object, _: Mapping[str, type[Value]]) -> str:
    """Return a hint with the equivalent of a loss of ``torch.nn``; "" if there is none."""
    kind, name = _LOSSES.get(_torch_name(loss, "torch.nn"), (None, ""))
    if kind is None:
        return ""
    given = {"label_smoothing": getattr(loss, "label_smoothing", 0.0), "class_weights": getattr(loss, "weight", None)}
    differing = {each: value for each, value in given.items() if _plain(value)}
    ours = f"mnistcnn.losses.{_call_text(kind, differing)}" if differing else repr(name)
    dropped = {each: getattr(loss, each, default) for each, default in _UNSUPPORTED.items()}
    unsupported = [f"{each}={value!r}" for each, value in dropped.items() if value != _UNSUPPORTED[each]]
    return f"; write loss={ours}{f' ({unsupported[0]} is not supported)' if unsupported else ''}"


def keyword_hint(name: str, value: object) -> str:
    """Return a hint for a keyword that Keras or PyTorch users write; "" if the keyword is not known."""
    if name == "criterion":
        return f"{loss_hint(value, {}) or '; write loss= instead'}."
    return _KEYWORDS.get(name, "")


def optimizer_hint(optimizer: object, ours: Mapping[str, type[Value]]) -> str:
    """Return a hint with the equivalent of an optimizer of ``torch.optim`` or its class."""
    name = _torch_name(optimizer, "torch.optim")
    if name not in ours:
        return "; optimizers of torch.optim can be used in your own training loop" if name else ""
    groups = getattr(optimizer, "param_groups", [{}])
    first = {**groups[0]}
    first["lr"] = first.get("initial_lr", first.get("lr"))  # a scheduler changes lr
    note = " (values of its first parameter group)" if len(groups) > 1 else ""
    return f"; write mnistcnn.optim.{_call_text(ours[name], first, always=('lr',))}{note}"


def schedule_hint(schedule: object, ours: Mapping[str, type[Value]]) -> str:
    """Return a hint with the equivalent of a scheduler of ``torch.optim.lr_scheduler``, its class or its name."""
    if isinstance(schedule, str):
        name = _closest(schedule, ours)
        return f"; write mnistcnn.optim.{_call_text(ours[name], {})}" if name else ""
    name = _torch_name(schedule, "torch.optim.lr_scheduler")
    values = {} if isinstance(schedule, type) else dict(getattr(schedule, "__dict__", {}))
    if name == "CosineAnnealingLR":
        name, values = "CosineAnnealing", {"t_max": values.get("T_max"), "eta_min": values.get("eta_min")}
        values["per_step"] = False
    if name == "MultiStepLR" and "milestones" in values:
        values["milestones"] = sorted(values["milestones"].elements())
    if name == "ReduceLROnPlateau" and values.pop("mode", "min") == "max":
        values["monitor"] = "validation_accuracy"
    return f"; write mnistcnn.optim.{_call_text(ours[name], values)}" if name in ours else ""


def _torch_name(value: object, package: str) -> str:
    """Return the name of a class, an instance's class or a function of a package of torch; "" for anything else."""
    kind = value if hasattr(value, "__name__") else type(value)
    module = str(getattr(kind, "__module__", ""))
    return str(getattr(kind, "__name__", "")) if module == package or module.startswith(f"{package}.") else ""


def _closest(word: str, names: Mapping[str, object]) -> str:
    """Return the name that starts with the word or is most similar to it, ignoring case; "" if there is none."""
    lower = {name.lower(): name for name in names}
    matches = [name for name in lower if word and name.startswith(word.lower().replace("_", ""))]
    close = matches[:1] or difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[close[0]] if close else ""


def _call_text(kind: type[Value], values: Mapping[str, Any], always: tuple[str, ...] = ()) -> str:
    """Return a call as source code: arguments that differ from their defaults, and ``...`` for required ones."""
    arguments = []
    for each in fields(kind):  # type: ignore[arg-type]
        given = _plain(values.get(each.name))
        default = None if each.default is MISSING else each.default
        if given is None and each.default is MISSING:
            arguments.append(f"{each.name}=...")
        elif each.name in always or (given is not None and given != default):
            arguments.append(f"{each.name}={default if given is None else given!r}")
    return f"{kind.__name__}({', '.join(arguments)})"


def _plain(value: Any) -> Any:
    """Return numbers, strings, and lists of them; convert tensors to numbers. Return None for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return float(f"{value:.6g}")  # hide the rounding of float32
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value)
    return value if isinstance(value, bool | int | str) else None
