"""Handle SIGTERM like Ctrl-C, so that a job that a cluster terminates saves its model first."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_received: list[int] = []
_RETRY = 0.05  # seconds until a signal is raised again


def handle_signals() -> None:
    """Raise KeyboardInterrupt on SIGTERM from now on, and repeat an interrupt that Python ignored."""
    signal.signal(signal.SIGTERM, _interrupt)
    sys.unraisablehook = _repeat_ignored


def terminated() -> bool:
    """Return whether SIGTERM was received."""
    return signal.SIGTERM in _received


def exit_code() -> int:
    """Return the exit code of an interrupted command: 128 plus the number of the signal, as in shells."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def exit_process(code: int) -> NoReturn:
    """Exit with the code of an interrupted command.

    With sys.exit, Python would exit as if killed by SIGINT if the interrupt stopped the execution of source text. The
    creation of a dataclass executes source text, and imports create dataclasses.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader of a pipe has closed it
            stream.flush()
    os._exit(code)


def _interrupt(number: int, _: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt


def _repeat_ignored(ignored: UnraisableHookArgs) -> None:
    """Raise the signal again if Python ignored its KeyboardInterrupt, as it does in finalizers."""
    if ignored.exc_type is KeyboardInterrupt:
        threading.Timer(_RETRY, signal.raise_signal, [_received[-1] if _received else signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(ignored)
