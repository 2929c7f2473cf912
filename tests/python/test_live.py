"""Curves that grow: every number where it belongs, valid SVG, and quick enough to be drawn after every epoch."""

from __future__ import annotations

import time
from typing import Any
from xml.etree import ElementTree

import pytest

from mnistcnn.callbacks import EpochRecord
from mnistcnn.plot import LiveCurves
from mnistcnn.plot.live import _round_ticks

SVG = "{http://www.w3.org/2000/svg}"


def record(epoch: int, validated: bool = True) -> EpochRecord:
    losses = (0.8 / epoch, 1 - 0.2 / epoch) if validated else (None, None)
    return EpochRecord(epoch, 1 / epoch, 1 - 0.3 / epoch, *losses, 0.01, 1.0)


def drawn(count: int, validated: bool = True) -> tuple[LiveCurves, Any]:
    live = LiveCurves()
    for epoch in range(1, count + 1):
        live.on_epoch(record(epoch, validated))
    return live, ElementTree.fromstring(live.svg())


@pytest.mark.parametrize("count", [1, 2, 7, 200])
@pytest.mark.parametrize("validated", [True, False])
def test_it_is_valid_svg_with_every_point_inside(count: int, validated: bool):
    live, root = drawn(count, validated)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == (4 if validated else 2)
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert len(points) == count == len(live.records)
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    words = [text.text for text in root.findall(f"{SVG}text")]
    assert f"training {live.records[-1].train_loss:.4f}" in words
    assert (f"validation {100 * (1 - 0.2 / count):.2f} %" in words) is validated


def test_lower_losses_stand_lower_and_every_line_is_its_own():
    _, root = drawn(5)
    lines = [
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for line in root.findall(f"{SVG}polyline")
    ]
    heights = [[y for _, y in line] for line in lines]
    assert all(heights[i] == sorted(heights[i]) for i in (0, 1))  # losses fall: y grows downwards
    assert all(heights[i] == sorted(heights[i], reverse=True) for i in (2, 3))
    assert len({tuple(each) for each in heights}) == 4


def test_a_second_run_begins_anew():
    live, _ = drawn(4)
    live.on_epoch(record(1))
    assert [each.epoch for each in live.records] == [1]


def test_numbers_that_are_none_are_left_out():
    live = LiveCurves()
    for epoch, loss in enumerate((0.5, float("nan"), float("inf"), 0.2), start=1):
        live.on_epoch(EpochRecord(epoch, loss, 0.5, None, None, 0.01, 1.0))
    line = ElementTree.fromstring(live.svg()).find(f"{SVG}polyline")
    assert line is not None
    assert len(line.attrib["points"].split()) == 2


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.98, 0.99), (97.2, 99.6), (0, 0), (5, 5), (1e-7, 3e-7), (-3, 900)])
def test_ticks_are_round_and_enclose(low: float, high: float):
    ticks = _round_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


def test_an_update_costs_less_than_a_hundredth_of_the_quickest_epoch():
    """The quickest network of the zoo needs more than 0.3 s for an epoch of MNIST on one core."""
    live, _ = drawn(100)
    fastest = min(_timed(live.svg) for _ in range(20))
    assert fastest < 0.003, f"{1000 * fastest:.2f} ms"


def _timed(call: Any) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
