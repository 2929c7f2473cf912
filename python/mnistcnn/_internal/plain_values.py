"""Conversion of the values in a recipe to plain data (JSON) and to short text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields, is_dataclass
from functools import partial
from typing import Any

from mnistcnn._internal.checks import did_you_mean
from mnistcnn._internal.values import Value, is_kind, kinds


def to_plain(value: Any, where: str) -> Any:
    """Return a value as data that JSON can represent; a value such as SGD becomes ``{"kind": "SGD", "lr": ...}``.

    ``where`` names the value in an error message.

    Raises
    ------
    ValueError
        If JSON cannot represent a value, for example a function.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [to_plain(each, where) for each in value]
    if isinstance(value, Value) and is_kind(type(value)):
        names = [each.name for each in fields(value)]  # type: ignore[arg-type]
        plain = {name: to_plain(getattr(value, name), f"{where}.{name}") for name in names}
        return {"kind": type(value).__name__, **plain}
    raise ValueError(
        f"{where} holds {_named(value)}, which cannot be written as JSON; a recipe can be saved if it contains only "
        "numbers, strings and values of mnistcnn"
    )


def from_plain(plain: Any, where: str) -> Any:
    """Return the value that `to_plain` converted; ``where`` names it in an error message."""
    if isinstance(plain, list):
        return tuple(from_plain(each, where) for each in plain)
    if not isinstance(plain, dict):
        return plain
    known, name = kinds(Value), plain.get("kind")
    if not isinstance(name, str) or name not in known:
        hint = did_you_mean(name, known) or "."
        raise ValueError(
            f"{where}: unknown type {name!r}{hint} Choose from: {', '.join(sorted(known))}; define a custom class "
            "before reading"
        )
    kind = known[name]
    arguments = {key: from_plain(value, f"{where}.{key}") for key, value in plain.items() if key != "kind"}
    defaults = {each.name: each.default for each in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(arguments) - set(defaults))
    if unknown:
        raise ValueError(f"{where}: {name} has no field {unknown[0]!r}")
    needed = [each for each, default in defaults.items() if default is MISSING and each not in arguments]
    if needed:
        raise ValueError(f"{where}: {name} is missing the field {needed[0]!r}")
    try:  # the class may be a user's, so a wrong value can raise any of these
        return kind(**arguments)
    except (
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        LookupError,
    ) as error:
        raise ValueError(f"{where}: {name} cannot be created with these values: {error}") from None


def describe(value: Any) -> Any:
    """Return a value as `to_plain` does, with a description of each part that JSON cannot represent.

    That is the name of a type or function, or a fingerprint (see `Value._compared`). The result is for comparison and
    display: `from_plain` cannot read it back.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [describe(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        part = value._compared if isinstance(value, Value) else partial(getattr, value)
        return {"kind": type(value).__name__, **{each.name: describe(part(each.name)) for each in fields(value)}}
    return _named(value)


def shown(value: Any, marked: Collection[str] = ()) -> str:
    """Return a short text such as ``SGD(lr=0.01)``, without fields that have their defaults; mark fields with a star.

    ``lr`` and the fields in ``marked`` are always included; the latter are followed by ``*``.
    """
    if isinstance(value, tuple):
        inner = ", ".join(shown(each, marked) for each in value)
        return f"({inner})" if len(value) != 1 else inner
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    arguments = []
    for each in fields(value):
        given = getattr(value, each.name)
        if each.name in marked or each.name == "lr" or each.default is MISSING or given != each.default:
            arguments.append(f"{each.name}={shown(given)}{' *' if each.name in marked else ''}")
    return f"{type(value).__name__}({', '.join(arguments)})"


def _named(value: object) -> str:
    name = getattr(value, "__qualname__", None)
    return f"the function {value.__module__}.{name}" if name else f"a {type(value).__module__}.{type(value).__name__}"
