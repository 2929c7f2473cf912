"""All commands, and what happens to an error: one sentence on stderr and an exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from mnistcnn.cli import demo, export, interruption, lr_find, measure, models, pictures, study, test, train
from mnistcnn.cli.output import say

_ERRNO = re.compile(r"^\[Errno \d+\] ")  # a number for programs, in front of the words
app = typer.Typer(
    help="Small image classifiers on MNIST, trained natively.",
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
def everything(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Small image classifiers on MNIST, trained natively."""


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Says that Ctrl-C ended a command which had nothing better to say; typer would be silent."""

    @wraps(command)
    def run(*words: Any, **options: Any) -> None:
        try:
            command(*words, **options)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(interruption.status()) from None

    return run


for command in (
    *(train.train, test.test, test.predict, models.models, models.summary, pictures.show),
    *(study.trials, study.sweep, study.experiments, measure.bench, measure.profile),
    *(lr_find.lr_find, export.export, demo.demo),
):
    app.command()(_interruptible(command))


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 failed, 2 wrong command, 130 interrupted, 143 terminated."""
    import warnings

    warnings.showwarning = _tell
    interruption.listen()
    try:
        app()
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(interruption.status())
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        sys.exit(141)
    except (ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        say(f"mnistcnn: {_ERRNO.sub('', str(error)) or type(error).__name__}")
        sys.exit(1)


def _tell(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning is one sentence too."""
    say(f"mnistcnn: {message}")
