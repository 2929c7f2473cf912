"""Data read from JSON: types of annotations, and the names of wrong fields in error messages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest

from mnistcnn._internal.json_data import parsed, typed


@dataclass(frozen=True)
class Point:
    x: float
    y: float | None = None
    names: tuple[str, ...] = ()


class Line(TypedDict):
    points: list[Point]
    closed: bool


class ColouredLine(Line, total=False):
    rows: list[tuple[str, int]]
    colours: dict[str, int]
    data: Any


def test_data_becomes_dataclasses_and_tuples():
    data = {"points": [{"x": 1, "names": ["a"]}], "closed": True, "rows": [["a", 1]], "colours": {"a": 1}, "data": [[]]}
    expected = {**data, "points": [Point(1.0, None, ("a",))], "rows": [("a", 1)]}
    assert typed(data, ColouredLine, "line") == expected


def test_null_is_nan_for_a_number_and_none_where_allowed():
    point = typed({"x": None, "y": None}, Point, "point")
    assert math.isnan(point.x)
    assert point.y is None


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        ([], Point, r"it must be a dictionary, got \[\]"),
        ({}, Point, "it has no field 'x'"),
        ({"x": 1, "z": 1}, Point, "it has an unknown field 'z'"),
        ({"x": "1"}, Point, "it.x must be a number, got '1'"),
        ({"x": True}, Point, "it.x must be a number, got True"),
        ({"x": 10**400}, Point, "it.x must be a number, got an integer of 401 digits"),
        ({"x": 1, "y": "1"}, Point, "it.y must be a number or null, got '1'"),
        ({"x": 1, "names": "ab"}, Point, "it.names must be a list, got 'ab'"),
        ({"x": 1, "names": ["a", None]}, Point, r"it.names\[1\] must be a string, got null"),
        ({"x": 1, "names": ["\ud800"]}, Point, r"it.names\[0\] must be valid Unicode"),
        ({"points": [{"x": 1}, {}], "closed": False}, Line, r"it.points\[1\] has no field 'x'"),
        ({"points": [], "closed": 1}, Line, "it.closed must be true or false, got 1"),
        ({"points": [], "closed": True, "colours": {"a": 1.5}}, ColouredLine, "it.colours.a must be an integer"),
        ({"points": [], "closed": True, "rows": [["a"]]}, ColouredLine, r"it.rows\[0\] must have 2 entries, got 1"),
        ({"points": [], "closed": True, "rows": [["a", 1.0]]}, ColouredLine, r"it.rows\[0\]\[1\] must be an integer"),
        (3, str | dict[str, Any] | None, "it must be a string or a dictionary or null, got 3"),
    ],
)
def test_wrong_data_raises_with_the_name_of_the_field(data: Any, kind: Any, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        typed(data, kind, "it")


@pytest.mark.parametrize("text", ["", "{", "[1,]", b"\xff", "[" * 100, "[" * 65 + "]" * 65, '{"a":' * 10**5])
def test_text_that_is_not_json_raises(text: str | bytes):
    with pytest.raises(ValueError, match=r"not valid JSON|nested more than 64 levels"):
        parsed(text)


def test_nested_lists_are_parsed():
    assert parsed("[" * 64 + "]" * 64)
