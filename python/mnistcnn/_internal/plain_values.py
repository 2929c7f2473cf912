"""The values that a recipe holds, as plain data and as words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from mnistcnn._internal.checks import did_you_mean
from mnistcnn._internal.values import Value, is_kind, kinds


def to_plain(value: Any, where: str, *, compared: bool = False) -> Any:
    """As JSON knows it; a value such as SGD becomes ``{"kind": "SGD", "lr": ...}``. ``where`` names it in an error.

    With ``compared`` a fingerprint may stand for what JSON has no word for: to be compared, not to be read back.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [to_plain(each, where, compared=compared) for each in value]
    if isinstance(value, Value) and is_kind(type(value)):
        parts = _parts(value, compared=compared)
        plain = {name: to_plain(each, f"{where}.{name}", compared=compared) for name, each in parts.items()}
        return {"kind": type(value).__name__, **plain}
    raise ValueError(
        f"{where} holds {_named(value)}, which can't be written as JSON; a recipe that is saved holds numbers, texts "
        "and mnistcnn's own values only"
    )


def from_plain(plain: Any, where: str) -> Any:
    """Return what `to_plain` described; ``where`` names it in an error."""
    if isinstance(plain, list):
        return tuple(from_plain(each, where) for each in plain)
    if not isinstance(plain, dict):
        return plain
    known, name = kinds(Value), plain.get("kind")
    if name not in known:
        hint = did_you_mean(name, known) or "."
        raise ValueError(
            f"{where}: there is no kind {name!r}{hint} Choose from: {', '.join(sorted(known))}; define a class of your "
            "own before you read it"
        )
    kind = known[str(name)]
    arguments = {key: from_plain(value, where) for key, value in plain.items() if key != "kind"}
    defaults = {each.name: each.default for each in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(arguments) - set(defaults))
    if unknown:
        raise ValueError(f"{where}: {name} has no field {unknown[0]!r}")
    needed = [each for each, default in defaults.items() if default is MISSING and each not in arguments]
    if needed:
        raise ValueError(f"{where}: {name} lacks the field {needed[0]!r}")
    return kind(**arguments)


def described(value: Any) -> Any:
    """As `to_plain`, but what JSON has no word for is named: to be compared and shown, not to be read back."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [described(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        inner = {name: described(each) for name, each in _parts(value, compared=True).items()}
        return {"kind": type(value).__name__, **inner}
    return _named(value)


def _parts(value: Any, *, compared: bool) -> dict[str, Any]:
    part = value._compared if compared and isinstance(value, Value) else lambda name: getattr(value, name)
    return {each.name: part(each.name) for each in fields(value)}


def shown(value: Any, marked: Collection[str] = ()) -> str:
    """In few words: ``SGD(lr=0.01)``, without what is as usual; ``marked`` fields get a star."""
    if isinstance(value, tuple):
        inner = ", ".join(shown(each, marked) for each in value)
        return f"({inner})" if len(value) != 1 else inner
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    words = []
    for each in fields(value):
        given = getattr(value, each.name)
        if each.name in marked or each.name == "lr" or each.default is MISSING or given != each.default:
            words.append(f"{each.name}={shown(given)}{' *' if each.name in marked else ''}")
    return f"{type(value).__name__}({', '.join(words)})"


def _named(value: object) -> str:
    name = getattr(value, "__qualname__", None)
    return f"the function {value.__module__}.{name}" if name else f"a {type(value).__module__}.{type(value).__name__}"
