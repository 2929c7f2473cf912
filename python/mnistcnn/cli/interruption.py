"""SIGTERM, which clusters send before they kill, ends a command as Ctrl-C does: what was learnt is saved."""

from __future__ import annotations

import signal
from types import FrameType

_received: list[int] = []


def listen() -> None:
    """From now on SIGTERM is a KeyboardInterrupt."""
    signal.signal(signal.SIGTERM, _interrupt)


def status() -> int:
    """The exit code of an interrupted command, as shells count: 128 and the signal."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def _interrupt(number: int, _: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt
