"""The application with all commands. Errors are printed as one message on stderr and set the exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from mnistcnn.cli import demo, export, interruption, lr_find, measure, models, show, study, test, train
from mnistcnn.cli.output import print_message

_ERRNO = re.compile(r"^\[Errno \d+\] ")  # prefix of the messages of OSError
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


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command, wrapped so that Ctrl-C prints a message; typer prints none."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            print_message("interrupted")
            raise typer.Exit(interruption.exit_code()) from None

    return run


for command in (
    *(train.train, test.test, test.predict, models.models, models.summary, show.show),
    *(study.trials, study.sweep, study.experiments, measure.bench, measure.profile),
    *(lr_find.lr_find, export.export, demo.demo),
):
    app.command()(_interruptible(command))


def main() -> None:
    """Run the command line.

    Exit codes: 0 success, 1 error, 2 invalid command, 130 interrupted, 141 closed pipe, 143 terminated.
    """
    import warnings

    warnings.showwarning = _print_warning
    interruption.handle_sigterm()
    try:
        app()
    except KeyboardInterrupt:
        print_message("interrupted")
        sys.exit(interruption.exit_code())
    except BrokenPipeError:  # the reader of the pipe has closed it
        sys.stderr.close()
        sys.exit(141)
    except (ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        print_message(f"mnistcnn: {_ERRNO.sub('', str(error)) or type(error).__name__}")
        sys.exit(1)


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print_message(f"mnistcnn: {message}")
