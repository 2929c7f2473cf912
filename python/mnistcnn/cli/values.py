"""Values of --optimizer, --schedule and --augment: ``NAME`` or ``NAME:ARGUMENTS``, such as ``rotation:10,p=0.5``."""

from __future__ import annotations

import ast
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import typer

from mnistcnn._internal.checks import did_you_mean
from mnistcnn._internal.values import Value, kinds

_V = TypeVar("_V", bound=Value)
_WORDS = {"true": True, "false": False, "none": None}


def parse_value(text: str, base: type[_V], option: str) -> _V:
    """Return the value that a text such as ``rotation:10`` or ``sgd:0.1,nesterov=true`` describes.

    The name is that of a class in any case; the ending ``LR`` of a schedule may be left out. The arguments are written
    as in a Python call, with ``true``, ``false`` and ``none`` in any case and words without quotes.

    Parameters
    ----------
    text
        Name and arguments.
    base
        Base class of the value, such as `Transform`.
    option
        Name of the option, for error messages.

    Raises
    ------
    typer.BadParameter
        If the name is unknown or the class does not accept the arguments.
    """
    name, _, arguments = text.partition(":")
    known = _by_name(base)
    kind = known.get(_key(name))
    try:
        if kind is None:
            _check_not_python_only(_key(name), base)
            hint = did_you_mean(_key(name), known) or "."
            raise ValueError(f"unknown name{hint} Choose from: {', '.join(sorted(known))}")
        positional, named = _arguments(arguments)
        _check_count(kind, _key(name), positional, named)
        return kind(*positional, **named)
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{text}: {error}", param_hint=f"'{option}'") from None


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "").removesuffix("lr")


def _by_name(base: type[_V]) -> dict[str, type[_V]]:
    """Return the classes whose arguments can be written as text, by name."""
    return {_key(name): kind for name, kind in kinds(base).items() if not _is_python_only(kind)}


def _is_python_only(kind: type[Value]) -> bool:
    from mnistcnn.optim import LambdaLR
    from mnistcnn.transforms import RandomApply

    return issubclass(kind, LambdaLR | RandomApply)


def _check_not_python_only(key: str, base: type[_V]) -> None:
    for name, kind in kinds(base).items():
        if _key(name) == key and _is_python_only(kind):
            raise ValueError(f"{name} is available in Python only: its arguments cannot be written as text")


def _arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Parse the arguments of a call. They are literals, so that no code is run."""
    try:
        call = ast.parse(f"_({text})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        if any(each.arg is None for each in call.keywords):  # **arguments
            raise ValueError
        return [_literal(each) for each in call.args], {str(each.arg): _literal(each.value) for each in call.keywords}
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        raise ValueError("the arguments must be written as in 10,p=0.5 or [6,9],gamma=0.1") from None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    return ast.literal_eval(node)


def _check_count(kind: type[Value], name: str, positional: list[Any], named: dict[str, Any]) -> None:
    """Raise TypeError if there are too many positional arguments or a required one is missing."""
    accepted = [each.name for each in fields(kind) if not each.kw_only]  # type: ignore[arg-type]
    required = [each.name for each in fields(kind) if each.default is MISSING]  # type: ignore[arg-type]
    if len(positional) > len(accepted):
        raise TypeError(f"at most {len(accepted)} arguments may be given without a name: {', '.join(accepted)}")
    missing = [each for each in required if each not in named and each not in accepted[: len(positional)]]
    if missing:
        raise TypeError(f"{' and '.join(missing)} must be given: {name}:{','.join(each.upper() for each in missing)}")
    twice = [each for each in accepted[: len(positional)] if each in named]
    if twice:
        raise TypeError(f"{twice[0]} is given twice")
