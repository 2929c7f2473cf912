"""The application with all commands."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from mnistcnn.cli import course, demo, export, interruption, lr_find, measure, models, show, study, test, train
from mnistcnn.cli.command import Command

app = typer.Typer(
    help="Train and test small image classifiers on MNIST.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import mnistcnn

        print(f"mnistcnn {mnistcnn.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train and test small image classifiers on MNIST."""


for command in (
    *(train.train, test.test, test.predict, models.models, models.summary, show.show),
    *(study.trials, study.sweep, study.experiments, measure.bench, measure.profile),
    *(lr_find.lr_find, export.export, demo.demo),
    *(course.check, course.report, course.new),
):
    app.command(cls=Command)(command)


def run() -> None:
    """Run the command line, and exit the process with the code of the command."""
    try:
        main()
    except SystemExit as end:
        if end.code == interruption.exit_code():
            interruption.exit_process(end.code)
        raise


def main() -> None:
    """Run the command line. Raise SystemExit at its end."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the path of a file need not be UTF-8; stderr does the same
    interruption.handle_signals()
    app()
