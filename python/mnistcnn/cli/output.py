"""Output of the commands: tables and JSON on stdout, messages on stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnistcnn.evaluation.results import TestResult


def print_message(text: str) -> None:
    """Print a message to stderr, so that stdout holds only results."""
    print(text, file=sys.stderr, flush=True)


def print_json(values: Any) -> None:
    """Print one JSON document to stdout; NaN becomes null."""
    from mnistcnn._internal.tables import json_text, without_nan

    print(json_text(without_nan(values)))


def print_result(result: Any, *, as_json: bool) -> None:
    """Print a result as text or JSON. Call it before files are written, which can fail if the disk is full."""
    if as_json:
        print_json(result.to_dict())
    else:
        print(result, flush=True)


def print_table(columns: list[str], rows: list[list[str]], *, left: int) -> None:
    """Print a table to stdout, with the first ``left`` columns left-aligned and the others right-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    width = max(Console().width, 200)  # wrap long lines instead of truncating numbers
    console = Console(width=width, markup=False)
    with console.capture() as lines:  # rich itself ends the process with code 1 if the pipe is closed
        console.print(table)
    print(lines.get(), end="")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure atomically, in the format of the path's suffix, and print the path to stderr."""
    from mnistcnn._internal.atomic_files import replacing

    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=120)
    print_message(f"plot written to {path}")


def scores(result: TestResult) -> dict[str, Any]:
    """Return the scores of a test as plain values for JSON."""
    return {
        "accuracy": result.accuracy,
        "loss": result.loss,
        "correct": result.correct,
        "count": result.count,
        "confusion": result.confusion.tolist(),
    }
