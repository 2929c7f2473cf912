"""What commands print: tables and JSON on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnistcnn.evaluation.results import TestResult


def say(text: str) -> None:
    """A sentence for the person, not for the pipe."""
    print(text, file=sys.stderr, flush=True)


def print_json(values: Any) -> None:
    """One JSON document."""
    from mnistcnn._internal.tables import json_text, without_nan

    print(json_text(without_nan(values)))


def print_table(columns: list[str], rows: list[list[str]], *, left: int) -> None:
    """A table; the first ``left`` columns are aligned to the left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    width = max(Console().width, 200)  # a long line goes on in the next; cut off numbers would be gone
    Console(width=width, markup=False).print(table)


def save_picture(figure: Any, path: Path, *, dpi: int = 120) -> None:
    """Writes a figure, and says so."""
    from mnistcnn._internal.atomic_files import replacing

    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=dpi)
    say(f"drawn into {path}")


def scores(result: TestResult) -> dict[str, Any]:
    """A test's numbers as plain data."""
    return {
        "accuracy": result.accuracy,
        "loss": result.loss,
        "correct": result.correct,
        "count": result.count,
        "confusion": result.confusion.tolist(),
    }
