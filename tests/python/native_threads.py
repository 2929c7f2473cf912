"""Number of operating system threads of this process."""

from __future__ import annotations

import time
from pathlib import Path


def native_threads(expected: int | None = None) -> int:
    """Return the number of threads.

    While it exceeds ``expected``, retry for up to 5 seconds: the system still counts a joined thread for a moment.
    """
    deadline = time.monotonic() + 5
    while True:
        count = len(list(Path("/proc/self/task").iterdir()))
        if expected is None or count <= expected or time.monotonic() > deadline:
            return count
        time.sleep(0.002)
