"""Atomic file writes."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mnistcnn._internal.locks import lock

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the operating system gives no file name with these


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing and rename it to ``path`` when the block ends.

    The file is flushed to disk before the rename, so ``path`` is always the complete old file or the complete new one.
    The new file has the permissions of the old one. If the block raises, the temporary file is removed, and ``path``
    is unchanged. If ``path`` is a symbolic link, its target is replaced. Temporary files for ``path`` that a killed
    process left behind are removed.

    Raises
    ------
    IsADirectoryError
        If ``path`` is a directory.
    FileNotFoundError
        If the parent directory does not exist.
    OSError
        If ``path`` is a device or a pipe, or writing fails. The message of a full disk names ``path``.
    """
    if path.is_symlink():
        path = path.resolve()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; name a file in it")
    if path.exists() and not path.is_file():  # a rename would replace the device itself, such as /dev/null
        raise OSError(f"{path} is a device or a pipe; name a regular file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist")
    remove_parts(path.parent, re.escape(path.name))
    part, file = _new_part(path)
    try:
        with file:
            with suppress(FileNotFoundError, PermissionError):
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)  # before the file is closed: this releases its lock
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
            raise OSError(error.errno, f"{path} could not be written ({error.strerror})") from None
        raise


def write_whole(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` atomically and return ``path``."""
    with replacing(path) as file:
        file.write(content)
    return path


def remove_parts(folder: Path, names: str) -> None:
    """Remove temporary files that killed processes left in a directory.

    ``names`` is a regular expression for the names of the files that were being written. Temporary files of living
    processes are locked and therefore kept. Without locks in the file system, nothing is removed.
    """
    pattern = re.compile(rf"\.(?:{names})\.[a-z0-9_]{{8}}\.part")
    with os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
    for part in found:
        with suppress(OSError):  # it is not ours to remove, or another process removes it
            _remove_unlocked(part)


def _remove_unlocked(part: Path) -> None:
    handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode) and lock(handle, wait=False):
            part.unlink()
    finally:
        os.close(handle)


def _new_part(path: Path) -> tuple[Path, IO[bytes]]:
    """Create a temporary file beside ``path`` and lock it. It has the default permissions of new files."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        except OSError as error:
            raise OSError(error.errno, f"{path} could not be written ({error.strerror})") from None
        lock(handle, wait=True)
        if os.fstat(handle).st_nlink > 0:
            return part, os.fdopen(handle, "wb")
        os.close(handle)  # another process removed it before it was locked
