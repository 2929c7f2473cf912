"""Read IDX, the file format of MNIST and its relatives, plain or compressed with gzip."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import numpy.typing as npt

_MAGIC = b"\x1f\x8b"  # the first bytes of gzip data
_LONGEST_HEADER = 20  # bytes of an IDX header with four dimensions
_BEST_RATIO = 1032  # deflate can't compress better


def read_idx(path: Path) -> npt.NDArray[Any]:
    """Return the array of an IDX file: uint8 or int32 of one to four dimensions.

    The content of a compressed file is held in memory only as far as the IDX header announces it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file can't be read, or is not exactly one IDX array. The text names the file and what was expected.
    """
    from mnistcnn._internal.native import core

    if not _is_gzip(path):
        return core.read_idx(str(path))
    compressed = path.read_bytes()
    try:
        return core.parse_idx(_decompressed(compressed, str(path)), name=str(path))
    except EOFError:
        raise OSError(f"{path}: truncated gzip data: the bytes end before the content does") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        # The file does begin as gzip data, so only what follows a member can be said not to.
        reason = "garbage after the end" if str(error).startswith("Not a gzipped file") else error
        raise OSError(f"{path}: damaged gzip data: {reason}") from None
    except MemoryError:
        raise OSError(f"{path}: the content of {len(compressed)} bytes of gzip does not fit into memory") from None


def _is_gzip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False  # the core says what is wrong with it


def _decompressed(compressed: bytes, name: str) -> bytes:
    """Return the content, after a check that its IDX header announces no more than the file can hold."""
    from mnistcnn._internal.native import core

    with gzip.open(io.BytesIO(compressed)) as stream:
        size = core.idx_file_bytes(stream.read(_LONGEST_HEADER), name=name)
    if size // _BEST_RATIO > len(compressed):
        raise OSError(
            f"{name}: truncated, {len(compressed)} bytes of gzip can't hold the {size} that its IDX header announces"
        )
    with gzip.open(io.BytesIO(compressed)) as stream:
        content = stream.read(size + 1)  # reading to the end also checks length and CRC-32
    if len(content) > size:
        raise OSError(f"{name}: the gzip data holds more than the expected {size} bytes")
    return content
