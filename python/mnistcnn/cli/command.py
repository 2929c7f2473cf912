"""Base class of the commands: it prints errors in the words of the command line and sets the exit code."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperCommand

from mnistcnn.cli import interruption
from mnistcnn.cli.output import print_message

_ERRNO = re.compile(r"^\[Errno \d+\] ")  # prefix of the messages of OSError
_CALL = r"\w\((?:[^()]|\([^()]*\))*\)"
_QUOTES = "'\""
# Types of errors of pydantic, with which versions of typer parse numbers -> message
_NUMBERS = {
    "int_parsing": "it must be an integer",
    "float_parsing": "it must be a number",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than_equal": "it must be at most {le:g}",
}
_FAILURES = (ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


class Command(TyperCommand):
    """Command whose errors name its options instead of the arguments of Python functions.

    Exit codes: 0 success, 1 error, 2 invalid command, 130 interrupted, 141 closed pipe, 143 terminated. A ValueError or
    TypeError about the value of an option is an invalid command.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the arguments. Raise typer.BadParameter with the option and the value for an invalid value."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _with_value(error)
            raise

    def invoke(self, ctx: Any) -> None:
        """Run the command. Print errors and warnings to stderr, and raise typer.Exit with the exit code."""
        options = [name for each in self.params for name in (*each.opts, *each.secondary_opts) if name[:2] == "--"]
        try:
            with warnings.catch_warnings():
                warnings.showwarning = partial(_print_warning, options)
                super().invoke(ctx)
                sys.stdout.flush()  # not at exit, where a closed pipe can no longer be handled
        except KeyboardInterrupt:
            print_message("interrupted")
            raise typer.Exit(interruption.exit_code()) from None
        except BrokenPipeError:  # the reader of the pipe has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest at exit
            raise typer.Exit(141) from None
        except typer.Exit:  # a RuntimeError
            raise
        except _FAILURES as error:
            text = in_options(_ERRNO.sub("", str(error)) or type(error).__name__, options)
            if isinstance(error, ValueError | TypeError) and text.startswith("--"):
                raise typer.BadParameter(text, ctx=ctx) from None
            print_message(f"mnistcnn: {text}")
            raise typer.Exit(1) from None


def in_options(text: str, options: Sequence[str]) -> str:
    """Return an error message with the names of options instead of those of arguments.

    ``resume=True`` becomes ``--resume``, ``log=`` becomes ``--log``, ``seed=3`` becomes ``--seed 3``. At the start,
    ``lr must be`` becomes ``--lr must be``. The arguments of a call, such as ``SGD(lr=0.1)``, are left unchanged.

    Parameters
    ----------
    text
        Message of an exception or a warning.
    options
        Options of the command, such as ``"--batch-size"``. Other names are left unchanged.
    """
    by_name = {option[2:].replace("-", "_"): option for option in options}
    names = "|".join(by_name)
    text = re.sub(rf"^({names}) (?=(must|has|requires|is) )", lambda found: f"{by_name[found[1]]} ", text)

    def replaced(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        if name is None:  # a call
            return found[0]
        return by_name[name] if value in ("", "True") else f"{by_name[name]} {value.strip(_QUOTES)}"

    return re.sub(rf"{_CALL}|(?<![\w.])(?P<name>{names})=(?P<value>[^\s,;:)]*)", replaced, text)


def _with_value(error: typer.BadParameter) -> str:
    """Return the message of an invalid value with the value, which versions of typer with pydantic leave out.

    The message of text that is no number ends with the meaning of the option.
    """
    details = getattr(error.__cause__, "errors", None)
    if details is None:
        return error.message
    detail = details()[0]
    message = error.message.removeprefix("Value error, ")  # of pydantic
    if detail["type"] in _NUMBERS:
        message = _NUMBERS[detail["type"]].format_map(detail.get("ctx", {}))
    given = repr(detail["input"])
    meaning = _first_sentence_of_help(error.param) if detail["type"] in ("int_parsing", "float_parsing") else ""
    return message if given in message else f"{message}, got {given}{meaning}"


def _first_sentence_of_help(parameter: Any) -> str:
    """Return the first sentence of the help of an option in parentheses."""
    text = getattr(parameter, "help", None) or ""
    sentence = re.split(r"(?<!\.)\.(?: |$)|; ", text)[0]
    return f" ({sentence[0].lower()}{sentence[1:]})" if sentence else ""


def _print_warning(options: Sequence[str], message: Warning | str, *_: Any, **__: Any) -> None:
    print_message(f"mnistcnn: {in_options(str(message), options)}")
