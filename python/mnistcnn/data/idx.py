"""Reader of IDX, the file format of MNIST and similar data sets, plain or compressed with gzip."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy.typing as npt

_MAGIC = b"\x1f\x8b"  # the first bytes of gzip data
_MAX_HEADER = 20  # bytes of an IDX header with four dimensions
_MAX_RATIO = 1032  # maximum compression ratio of deflate


def read_idx(path: Path) -> npt.NDArray[Any]:
    """Return the array of an IDX file: uint8 or int32, with one to four dimensions.

    At most as many bytes are decompressed as the IDX header declares.

    Parameters
    ----------
    path
        IDX file, plain or compressed with gzip (recognised by its content).

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    OSError
        If the file cannot be read or does not contain exactly one IDX array. The message names the file and the
        expected content.
    """
    from mnistcnn._internal.native import core

    name = os.fsencode(path).decode(errors="backslashreplace")  # the core accepts only text in UTF-8
    if not _is_gzip(path):
        return core.read_idx(name) if name == str(path) else core.parse_idx(path.read_bytes(), name=name)
    compressed = path.read_bytes()
    try:
        return core.parse_idx(_decompressed(compressed, name), name=name)
    except EOFError:
        raise OSError(f"{path}: truncated gzip data: the file ends before the end of the compressed content") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        # The file begins with gzip data, so BadGzipFile("Not a gzipped file") refers to bytes after a gzip member.
        reason = "garbage after the end" if str(error).startswith("Not a gzipped file") else error
        raise OSError(f"{path}: damaged gzip data: {reason}") from None
    except MemoryError:
        raise OSError(f"{path}: the content of {len(compressed)} bytes of gzip data does not fit into memory") from None


def _is_gzip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False  # core.read_idx raises an error with the reason


def _decompressed(compressed: bytes, name: str) -> bytes:
    """Return the decompressed content; raise OSError if its size differs from the size that its IDX header declares."""
    from mnistcnn._internal.native import core

    with gzip.open(io.BytesIO(compressed)) as stream:
        size = core.idx_file_bytes(stream.read(_MAX_HEADER), name=name)
    if size // _MAX_RATIO > len(compressed):
        raise OSError(
            f"{name}: truncated, {len(compressed)} bytes of gzip data cannot contain the {size} bytes that its IDX "
            "header declares"
        )
    with gzip.open(io.BytesIO(compressed)) as stream:
        content = stream.read(size + 1)  # reading to the end also checks length and CRC-32
    if len(content) > size:
        raise OSError(f"{name}: the gzip data contains more than the expected {size} bytes")
    return content
