"""Curves that are redrawn during training: in notebooks only, at most 10 % of the time, always up to the last epoch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mnistcnn
from mnistcnn import History
from mnistcnn.callbacks import EpochRecord
from mnistcnn.plot import LiveCurves, live

IPYTHON_DISPLAY = pytest.importorskip("IPython.display")


def record(epoch: int, validated: bool = True) -> EpochRecord:
    losses = (0.8 / epoch, 1 - 0.2 / epoch) if validated else (None, None)
    return EpochRecord(epoch, 1 / epoch, 1 - 0.3 / epoch, *losses, 0.01, 1.0)


class Display:
    """Records what a notebook would show."""

    def __init__(self) -> None:
        self.images: list[bytes] = []
        self.cells = 0

    def __call__(self, image: Any, *, display_id: bool) -> Display:
        assert display_id
        self.cells += 1
        self.update(image)
        return self

    def update(self, image: Any) -> None:
        assert image.data.startswith(b"\x89PNG")
        self.images.append(image.data)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    display = Display()
    monkeypatch.setattr(live, "in_notebook", lambda: True)
    monkeypatch.setattr(IPYTHON_DISPLAY, "display", display)
    return display


def test_outside_of_notebooks_it_only_collects_records():
    curves = LiveCurves()
    for epoch in (1, 2, 3):
        curves.on_epoch(record(epoch))
    curves.on_train_end(History())
    assert [each.epoch for each in curves.records] == [1, 2, 3]


@pytest.mark.parametrize(("validated", "lines"), [(True, 2), (False, 1)])
def test_figure(validated: bool, lines: int):
    curves = LiveCurves()
    for epoch in range(1, 6):
        curves.on_epoch(record(epoch, validated))
    axes = curves.figure().axes
    assert [len(ax.lines) for ax in axes] == [lines, lines]
    for ax in axes:
        assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 2, 3, 4, 5]] * lines


def test_epochs_that_pass_quickly_are_drawn_once_at_the_end(notebook: Display, monkeypatch: pytest.MonkeyPatch):
    now = 0.0

    def clock() -> float:  # each look at the clock takes half a second: drawing takes that long
        nonlocal now
        now += 0.5
        return now

    monkeypatch.setattr(live.time, "monotonic", clock)
    curves = LiveCurves()
    for epoch in range(1, 4):
        curves.on_epoch(record(epoch))
    assert len(notebook.images) == 1
    now += 100
    curves.on_epoch(record(4))
    assert len(notebook.images) == 2
    curves.on_epoch(record(5))
    curves.on_train_end(History())
    assert len(notebook.images) == 3
    curves.on_train_end(History())
    assert (len(notebook.images), notebook.cells) == (3, 1)


def test_a_resumed_run_shows_all_epochs(tmp_path: Path):
    data = mnistcnn.load("digits")[1][:200]
    options = {"validation": 0.2, "checkpoint": tmp_path, "resume": True, "progress": False}
    for epochs in (2, 3):
        live = mnistcnn.plot.LiveCurves()
        mnistcnn.train(mnistcnn.create_model("budget_model3"), data, epochs=epochs, callbacks=[live], **options)
        assert [record.epoch for record in live.records] == list(range(1, epochs + 1))


def test_another_run_starts_a_new_figure(notebook: Display):
    curves = LiveCurves()
    for epochs in ((1, 2), (1,)):
        curves.on_train_start(SimpleNamespace(history=History()))
        for epoch in epochs:
            curves.on_epoch(record(epoch))
    assert [each.epoch for each in curves.records] == [1]
    assert notebook.cells == 2


def test_values_that_are_not_finite_are_left_out(notebook: Display):
    curves = LiveCurves()
    for epoch, loss in enumerate((0.5, float("nan"), float("inf"), 0.2), start=1):
        curves.on_epoch(EpochRecord(epoch, loss, 0.5, None, None, 0.01, 1.0))
    curves.on_train_end(History())
    assert notebook.images
