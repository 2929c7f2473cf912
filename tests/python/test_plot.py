"""Figures: returned, never shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import mnistcnn
from mnistcnn import EpochRecord, History

matplotlib = pytest.importorskip("matplotlib")
TITLES = ["Training loss", "Training accuracy", "Validation loss", "Validation accuracy"]


@pytest.fixture(autouse=True)
def _no_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from matplotlib import pyplot as plt

    backend = matplotlib.get_backend()
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a plot was shown"))
    yield
    plt.close("all")
    plt.switch_backend(backend)


def history(seed: int = 1, epochs: int = 5, validated: bool = True) -> History:
    records = [
        EpochRecord(
            epoch,
            1 / epoch + 0.1 * seed,
            1 - 0.3 / epoch,
            0.8 / epoch if validated else None,
            1 - 0.2 / epoch if validated else None,
            0.01,
            1.0,
        )
        for epoch in range(1, epochs + 1)
    ]
    return History("session7_net", seed, records)


def values(ax: Any, line: int = 0) -> list[float]:
    return ax.lines[line].get_ydata().tolist()


def test_curves_draws_two_by_two():
    figure = mnistcnn.plot.curves(history())
    assert isinstance(figure, matplotlib.figure.Figure)
    assert [ax.get_title() for ax in figure.axes] == TITLES
    loss, accuracy, validation_loss, validation_accuracy = figure.axes
    assert values(loss) == history().column("train_loss").tolist()
    assert values(accuracy) == (100 * history().column("train_accuracy")).tolist()
    assert values(validation_loss) == history().column("validation_loss").tolist()
    assert values(validation_accuracy) == (100 * history().column("validation_accuracy")).tolist()
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy (%)"] * 2
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "epoch", "epoch"]
    assert accuracy.texts[0].get_text() == "94.00 %"
    figure.canvas.draw()


def test_several_histories_share_the_panels_and_have_a_legend():
    figure = mnistcnn.plot.curves([history(1), history(2, epochs=3)])
    assert all(len(ax.lines) == 2 for ax in figure.axes)
    assert values(figure.axes[0], 1) == history(2, epochs=3).column("train_loss").tolist()
    names = [text.get_text() for legend in _legends(figure) for text in legend.get_texts()]
    assert names == ["session7_net, seed 1", "session7_net, seed 2"]
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert len(colours) == 2
    figure.canvas.draw()


def _legends(figure: Any) -> list[Any]:
    return [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]


def test_without_validation_the_lower_panels_say_so():
    figure = mnistcnn.plot.curves(history(validated=False))
    assert [ax.texts[0].get_text() for ax in figure.axes[2:]] == ["no validation set"] * 2
    figure.canvas.draw()


def test_one_epoch_and_a_figure_of_ones_own():
    figure = matplotlib.figure.Figure()
    assert mnistcnn.plot.curves(history(epochs=1), figure=figure) is figure
    assert len(figure.axes) == 4
    figure.savefig(__import__("io").BytesIO())


def test_nothing_to_draw():
    for nothing in ([], History(), [history(), History()]):
        with pytest.raises(ValueError, match="there is nothing to draw"):
            mnistcnn.plot.curves(nothing)
