"""Locks on files and directories. The operating system releases them when the process ends, also if it is killed."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar
from weakref import WeakValueDictionary


def lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file or directory exclusively; return False if the file system does not support locks.

    Raise BlockingIOError if another open file of any process holds the lock and ``wait`` is False.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # for example on some network file systems
        return False
    return True


class FolderLock:
    """Exclusive lock on a directory; released by `release`, and at the latest when the object is deleted.

    A thread that locks a directory twice gets the lock again, and the earlier object loses it: the earlier generator of
    the thread is suspended then, for example because a traceback refers to it.

    Raises
    ------
    BlockingIOError
        If another process or thread holds the lock.
    """

    _of_this_process: ClassVar[WeakValueDictionary[tuple[int, int], FolderLock]] = WeakValueDictionary()

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = None  # for __del__, if the next line raises
        self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._owner = os.getpid(), threading.get_ident()
        status = os.fstat(self._handle)
        identity = status.st_dev, status.st_ino
        earlier = self._of_this_process.get(identity)
        if earlier is not None and earlier._owner == self._owner:
            earlier.release()
        try:
            lock(self._handle, wait=False)
        except BlockingIOError:
            self._close()
            raise
        self._of_this_process[identity] = self

    def release(self) -> None:
        """Release the lock; do nothing if it has been released."""
        if self._handle is not None and self._owner[0] == os.getpid():
            with suppress(OSError):  # the file system has no locks
                fcntl.flock(self._handle, fcntl.LOCK_UN)  # a forked child may still have the directory open
        self._close()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()
