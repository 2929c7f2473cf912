"""Log of the server, written by a thread of its own."""

from __future__ import annotations

import logging
import os
import queue
import threading
from contextlib import suppress

_STDERR = 2


class BackgroundLog(logging.Handler):
    """Logging handler that never blocks: a thread writes the records, and records are dropped if the queue is full.

    A write to a pipe whose reader is slow or stopped blocks. Without the thread, the server would stop with it.

    Parameters
    ----------
    descriptor
        File descriptor to write to. Default: that of stderr.
    size
        Number of records that may wait.
    """

    def __init__(self, descriptor: int = _STDERR, size: int = 100) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: queue.Queue[str] = queue.Queue(size)
        # A daemon, since it may be blocked when the process ends.
        threading.Thread(target=self._write, name="demo log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record to the queue; drop it if the queue is full."""
        with suppress(queue.Full):
            self._waiting.put_nowait(f"{self.format(record)}\n")

    def _write(self) -> None:
        with suppress(OSError):  # the pipe is closed
            while True:
                content = self._waiting.get().encode(errors="replace")
                while content:  # os.write, because a blocked sys.stderr would be locked when the process ends
                    content = content[os.write(self._descriptor, content) :]
