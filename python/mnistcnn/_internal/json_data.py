"""Data read from JSON: parsed, and checked against the annotations of the type that it should have."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

_MAX_LEVELS = 64  # of nested lists and dictionaries; functions that visit them call themselves once per level
_SCALARS: dict[Any, tuple[type, ...]] = {
    NoneType: (NoneType,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str,),
}
_WORDS: dict[Any, str] = {
    NoneType: "null",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a dictionary",
}


@contextmanager
def errors_naming(path: Path | str, kind: type[Exception] = ValueError) -> Iterator[None]:
    """Raise the ValueErrors of the block as errors of another kind that start with the path of the file."""
    try:
        yield
    except ValueError as error:
        raise kind(f"{path}: {error}") from None


def parsed(text: str | bytes) -> Any:
    """Return the data of JSON text. Raise ValueError if the text is not JSON or nested too deeply."""
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError(f"the JSON is nested more than {_MAX_LEVELS} levels deep") from None
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from None
    level = [data]
    for _ in range(_MAX_LEVELS):
        level = [inner for each in level for inner in _inner(each)]
    if level:
        raise ValueError(f"the JSON is nested more than {_MAX_LEVELS} levels deep")
    return data


def read_json(path: str | Path) -> Any:
    """Return the data of a JSON file. Raise FileNotFoundError if it does not exist."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"file {path} does not exist")
    return parsed(path.read_bytes())


def check_format(data: Any, name: str) -> None:
    """Raise ValueError unless the data is a dictionary whose field ``format`` has the given value."""
    found = data.get("format") if isinstance(data, dict) else None
    if found != name:
        raise ValueError(f"format must be {name!r}, got {reprlib.repr(found)}")


def typed(data: Any, kind: Any, where: str) -> Any:
    """Return JSON data as a value of the type ``kind``; ``where`` names the data in an error message.

    ``kind`` is a scalar type, None, Any, a dataclass, a TypedDict, ``list[...]``, ``tuple[...]``, ``dict[str, ...]``,
    or a union of these. A list becomes a tuple, and a dictionary a dataclass, if ``kind`` is one. A null becomes NaN if
    ``kind`` is float, because `without_nan` writes NaN as null.

    Raises
    ------
    ValueError
        If a value has another type, or a field is missing or unknown. The message names the field.
    """
    if kind is Any:
        return data
    if get_origin(kind) in (Union, UnionType):
        choices = get_args(kind)
        fitting = [each for each in choices if _fits(data, each)]
        if not fitting:
            raise _wrong_type(data, choices, where)
        return typed(data, fitting[0], where)
    if kind is float and data is None:
        return float("nan")
    if not _fits(data, kind):
        raise _wrong_type(data, (kind,), where)
    if isinstance(data, list):
        return _typed_list(data, kind, where)
    if isinstance(data, dict):
        return _typed_dict(data, kind, where)
    return _typed_scalar(data, kind, where)


def _typed_scalar(data: Any, kind: Any, where: str) -> Any:
    if kind is float:
        try:
            return float(data)
        except OverflowError:
            raise ValueError(f"{where} must be a number, got an integer of {len(str(data))} digits") from None
    if kind is str and not data.isascii():
        try:
            data.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{where} must be valid Unicode, got {data!a}") from None
    return data


def _typed_list(data: list[Any], kind: Any, where: str) -> Any:
    inner = get_args(kind)
    if inner == (float,) and all(type(each) is float for each in data):  # the losses of many steps
        return list(data)
    if get_origin(kind) is list:
        return [typed(each, inner[0], f"{where}[{index}]") for index, each in enumerate(data)]
    if inner[-1] is ...:
        inner = (inner[0],) * len(data)
    if len(inner) != len(data):
        raise ValueError(f"{where} must have {len(inner)} entries, got {len(data)}")
    pairs = zip(data, inner, strict=True)
    return tuple(typed(each, wanted, f"{where}[{index}]") for index, (each, wanted) in enumerate(pairs))


def _typed_dict(data: dict[str, Any], kind: Any, where: str) -> Any:
    if get_origin(kind) is dict:
        inner = get_args(kind)[1]
        return {name: typed(each, inner, f"{where}.{name}") for name, each in data.items()}
    hints, required = _fields(kind)
    missing = sorted(required - data.keys())
    if missing:
        raise ValueError(f"{where} has no field {missing[0]!r}")
    unknown = sorted(data.keys() - hints.keys())
    if unknown:
        raise ValueError(f"{where} has an unknown field {unknown[0]!r}")
    values = {name: typed(each, hints[name], f"{where}.{name}") for name, each in data.items()}
    return values if is_typeddict(kind) else kind(**values)


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of the fields of a dataclass or TypedDict by name, and the names of those without a default."""
    hints = get_type_hints(kind)
    if is_typeddict(kind):
        return hints, kind.__required_keys__
    return hints, frozenset(each.name for each in fields(kind) if each.default is each.default_factory is MISSING)


def _json_type(kind: Any) -> Any:
    """Return the scalar type, list or dict that represents a value of a type in JSON."""
    if is_typeddict(kind) or is_dataclass(kind):
        return dict
    origin = get_origin(kind)
    return list if origin is tuple else origin or kind


def _fits(data: Any, kind: Any) -> bool:
    if isinstance(data, bool):  # an instance of int
        return kind is bool
    found = _json_type(kind)
    return isinstance(data, _SCALARS.get(found, (found,)))


def _inner(data: Any) -> Any:
    return data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()


def _wrong_type(data: Any, kinds: tuple[Any, ...], where: str) -> ValueError:
    wanted = " or ".join(dict.fromkeys(_WORDS[_json_type(each)] for each in kinds))
    return ValueError(f"{where} must be {wanted}, got {'null' if data is None else reprlib.repr(data)}")
