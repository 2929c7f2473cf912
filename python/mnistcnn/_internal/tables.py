"""Output of results: text tables, HTML tables, JSON and pandas."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

from mnistcnn._internal.atomic_files import write_whole
from mnistcnn._internal.packages import missing_package

_CELL = "padding: 0.15em 0.8em; text-align: {align}; border: none; white-space: nowrap;"
_RULE = "border-bottom: 1px solid color-mix(in srgb, currentColor 35%, transparent);"


def aligned(rows: Sequence[Sequence[str]], *, left: int = 0, gap: str = "   ") -> list[str]:
    """Return one line of text per row, with the first ``left`` columns aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        gap.join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def json_text(values: Any, path: str | Path | None = None) -> str:
    """Return plain data as JSON text and write it to ``path`` if given; raise ValueError for NaN and infinities."""
    text = json.dumps(values, indent=1, allow_nan=False)
    if path is not None:
        write_text(path, text + "\n")
    return text


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file atomically and return its path."""
    return write_whole(Path(path), text.encode())


def percent(value: float, digits: int = 2) -> str:
    """Return a fraction as text in percent; "-" for NaN."""
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def counted(number: int, noun: str) -> str:
    """Return a number with a noun in singular or plural, such as "3 epochs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first_names(names: Sequence[object], limit: int) -> str:
    """Return the first names separated by commas, and the number of the others: "a, b and 3 more"."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(str, names[:limit])) + more


def dimensions(sizes: Iterable[int]) -> str:
    """Return sizes as text, such as "3x28x28"."""
    return "x".join(map(str, sizes))


def without_nan(value: Any) -> Any:
    """Return a copy of plain data in which None replaces NaN and infinities, and lists replace tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    return [without_nan(each) for each in value] if isinstance(value, list | tuple) else value


def pandas() -> ModuleType:
    """Import and return pandas; raise ImportError with the install command if it is missing."""
    try:
        return importlib.import_module("pandas")
    except ImportError:
        raise missing_package("to_dataframe", "pandas") from None


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", left: int = 0) -> str:
    """Return an HTML table, with the first ``left`` columns aligned left and the others right."""
    aligns = ["left" if i < left else "right" for i in range(len(headings))]
    head = "".join(_cell("th", text, align) for text, align in zip(headings, aligns, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell("td", text, align) for text, align in zip(row, aligns, strict=True)) + "</tr>"
        for row in rows
    )
    caption = f"<div style='font-weight: 600; margin: 0.3em 0'>{escape(title)}</div>" if title else ""
    style = "border-collapse: collapse; font-variant-numeric: tabular-nums;"
    return (
        f"<div style='overflow-x: auto'>{caption}<table style='{style}'><thead style='{_RULE}'><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(tag: str, text: str, align: str) -> str:
    return f"<{tag} style='{_CELL.format(align=align)}'>{escape(text)}</{tag}>"
