"""The values that a recipe holds, as plain data and as words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mnistcnn.checks import did_you_mean
from mnistcnn.values import Value

# Where the values are at home.
_HOMES = ("optimizers", "schedules", "losses", "averaging", "augmentation")


def to_plain(value: Any, where: str, *, compared: bool = False) -> Any:
    """As JSON knows it; a value such as SGD becomes ``{"kind": "SGD", "lr": ...}``. ``where`` names it in an error.

    With ``compared`` a fingerprint may stand for what JSON has no word for: to be compared, not to be read back.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [to_plain(each, where, compared=compared) for each in value]
    if is_dataclass(value) and type(value) in kinds().values():
        parts = _parts(value, compared=compared)
        plain = {name: to_plain(each, f"{where}.{name}", compared=compared) for name, each in parts.items()}
        return {"kind": type(value).__name__, **plain}
    raise ValueError(
        f"{where} holds {_named(value)}, which can't be written as JSON; a recipe that is saved holds numbers, texts "
        "and mnistcnn's own values only"
    )


def from_plain(plain: Any, where: str) -> Any:
    """What `to_plain` described."""
    if isinstance(plain, list):
        return tuple(from_plain(each, where) for each in plain)
    if not isinstance(plain, dict):
        return plain
    kind = plain.get("kind")
    if kind not in kinds():
        hint = did_you_mean(kind, kinds()) or "."
        raise ValueError(f"{where}: there is no kind {kind!r}{hint} Choose from: {', '.join(sorted(kinds()))}")
    arguments = {name: from_plain(value, where) for name, value in plain.items() if name != "kind"}
    unknown = sorted(set(arguments) - {each.name for each in fields(kinds()[kind])})
    if unknown:
        raise ValueError(f"{where}: {kind} has no field {unknown[0]!r}")
    needed = [each.name for each in fields(kinds()[kind]) if each.default is MISSING and each.name not in arguments]
    if needed:
        raise ValueError(f"{where}: {kind} lacks the field {needed[0]!r}")
    return kinds()[kind](**arguments)


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


@lru_cache(maxsize=1)
def kinds() -> dict[str, type]:
    """Every kind of value, by its name."""
    found = {}
    for home in _HOMES:
        if find_spec(f"mnistcnn.{home}") is None:
            continue
        module = import_module(f"mnistcnn.{home}")
        for name, each in vars(module).items():
            if _is_kind(each) and each.__module__ == module.__name__ and name[0] != "_":
                found[name] = each
    return found


def _is_kind(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, Value) and is_dataclass(each) and not vars(each).get("_is_base")


def is_value_of(home: str, value: object) -> bool:
    """Whether it is one of the values of a module of ours, or of a kind derived from one."""
    kind: type = type(value)
    return _is_kind(kind) and any(base.__module__ == f"mnistcnn.{home}" for base in kind.mro())


def _named(value: object) -> str:
    name = getattr(value, "__qualname__", None)
    return f"the function {value.__module__}.{name}" if name else f"a {type(value).__module__}.{type(value).__name__}"
