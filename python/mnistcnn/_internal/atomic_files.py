"""Atomic file writes."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the operating system gives no file name with these


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing and rename it to ``path`` when the block ends.

    The file is flushed to disk before the rename, so ``path`` is always the complete old file or the complete new one.
    If the block raises, the temporary file is removed and ``path`` is unchanged. If ``path`` is a symbolic link, its
    target is replaced.

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
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
            raise OSError(error.errno, f"{path} could not be written ({error.strerror})") from None
        raise


def write_whole(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` atomically and return ``path``."""
    with replacing(path) as file:
        file.write(content)
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
