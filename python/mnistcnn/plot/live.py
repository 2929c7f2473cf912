"""Curves that grow while a network trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.progress import in_notebook
from mnistcnn.plot.style import PALETTE

if TYPE_CHECKING:
    from mnistcnn.training.history import EpochRecord

_WIDTH, _HEIGHT = 340.0, 200.0  # of one panel, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 26.0, 30.0  # around the data
_SERIES = (("training", "train", ""), ("validation", "validation", "5 3"))


class LiveCurves:
    """A callback that draws loss and accuracy into the cell, and again after every epoch.

    The picture is a few lines of SVG in the notebook's own text colour, which cost well below a millisecond to
    write; `mnistcnn.plot.curves` draws the same as a figure afterwards. Outside of notebooks nothing is shown.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:200]
    >>> live = mnistcnn.plot.LiveCurves()
    >>> history = mnistcnn.train(mnistcnn.create_model("budget_model3"), data, epochs=2, callbacks=[live],
    ...                          progress=False)
    >>> len(live.records), live.svg().startswith("<svg")
    (2, True)
    """

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []
        self._display: Any = None

    def on_epoch(self, record: EpochRecord) -> None:
        """Draws the epochs so far; a first epoch begins a new picture."""
        if self.records and record.epoch <= self.records[-1].epoch:
            self.records, self._display = [], None
        self.records.append(record)
        if not in_notebook():
            return
        from IPython.display import HTML, display

        if self._display is None:
            self._display = display(HTML(self._repr_html_()), display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._display.update(HTML(self._repr_html_()))  # type: ignore[no-untyped-call]

    def svg(self) -> str:
        """The picture as SVG."""
        panels = [
            _panel(self.records, "loss", 1, 0),
            _panel(self.records, "accuracy", 100, _WIDTH),
        ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH:g} {_HEIGHT:g}" '
            f'style="width: 100%; max-width: {2 * _WIDTH:g}px; font: 11px sans-serif" '
            f'fill="currentColor" role="img">{"".join(panels)}</svg>'
        )

    def _repr_html_(self) -> str:
        return f"<div>{self.svg()}</div>"


def _panel(records: Sequence[EpochRecord], what: str, factor: float, left: float) -> str:
    columns = [[getattr(record, f"{key}_{what}") for record in records] for _, key, _ in _SERIES]
    points = [
        [(record.epoch, factor * value) for record, value in zip(records, column, strict=True) if _known(value)]
        for column in columns
    ]
    frame = _Frame([point for series in points for point in series], left)
    parts = [frame.axes(), _text(left + _LEFT, 14, "Loss" if factor == 1 else "Accuracy", weight="600")]
    place = left + _WIDTH - _RIGHT
    form = "{:.4f}" if factor == 1 else "{:.2f} %"
    for (name, _, dash), series, colour in reversed(list(zip(_SERIES, points, PALETTE, strict=False))):
        if series:
            parts.append(frame.line(series, colour, dash))
            caption = f"{name} {form.format(series[-1][1])}"
            parts.append(_text(place, 14, caption, anchor="end", colour=colour, weight="600"))
            place -= 6 * len(caption) + 8
    return "".join(parts)


class _Frame:
    """From epochs and values to pixels."""

    def __init__(self, points: Sequence[tuple[float, float]], left: float) -> None:
        self._x0, self._x1 = left + _LEFT, left + _WIDTH - _RIGHT
        self._y0, self._y1 = _HEIGHT - _BOTTOM, _TOP
        values = [value for _, value in points] or [0.0, 1.0]
        self._ticks = _round_ticks(min(values), max(values))
        self._low, self._high = self._ticks[0], self._ticks[-1]
        self._last = int(max([epoch for epoch, _ in points] or [1]))

    def _x(self, epoch: float) -> float:
        part = (epoch - 1) / (self._last - 1) if self._last > 1 else 0.5
        return self._x0 + part * (self._x1 - self._x0)

    def _y(self, value: float) -> float:
        return self._y0 + (value - self._low) / (self._high - self._low) * (self._y1 - self._y0)

    def line(self, points: Sequence[tuple[float, float]], colour: str, dash: str) -> str:
        places = [(self._x(epoch), self._y(value)) for epoch, value in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}"/>' for x, y in places[-60:])
        return (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"/>'
            f"{dots}"
        )

    def axes(self) -> str:
        parts = [_text((self._x0 + self._x1) / 2, _HEIGHT - 3, "epoch", anchor="middle")]
        for tick in self._ticks:
            y = self._y(tick)
            parts.append(
                f'<line x1="{self._x0:g}" x2="{self._x1:g}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" '
                'stroke-opacity="0.2"/>'
            )
            parts.append(_text(self._x0 - 6, y + 4, f"{tick:g}", anchor="end"))
        step = max(1, math.ceil(self._last / 8))
        for epoch in range(step if step > 1 else 1, self._last + 1, step):
            parts.append(_text(self._x(epoch), self._y0 + 15, str(epoch), anchor="middle"))
        return "".join(parts)


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _round_ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers that enclose a range."""
    span = max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-9)
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "", weight: str = "") -> str:
    fill = f' fill="{colour}"' if colour else ""
    bold = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{fill}{bold}>{escape(text)}</text>'
