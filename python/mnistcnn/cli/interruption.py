"""Handle SIGTERM like Ctrl-C, so that a job that a cluster terminates saves its model first."""

from __future__ import annotations

import signal
from types import FrameType

_received: list[int] = []


def handle_sigterm() -> None:
    """Raise KeyboardInterrupt on SIGTERM from now on."""
    signal.signal(signal.SIGTERM, _interrupt)


def exit_code() -> int:
    """Return the exit code of an interrupted command: 128 plus the number of the signal, as in shells."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def _interrupt(number: int, _: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt
