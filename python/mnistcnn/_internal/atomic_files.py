"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the system names no file when it has no room for one


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name, flushed and renamed at the end: ``path`` is the old file or the new one.

    If anything fails before, the old one stays and the temporary one goes. A link stays a link: its file is replaced.
    """
    if path.is_symlink():
        path = path.resolve()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():  # renaming would take the place of /dev/null itself
        raise OSError(f"{path} is a device or a pipe, and no file; name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist")
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
    """Writes ``content`` into ``path``, whole or not at all."""
    with replacing(path) as file:
        file.write(content)
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
