"""IDX files, plain and compressed, and the errors for invalid files."""

from __future__ import annotations

import gzip
import random
import re
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from idx_files import idx
from mnistcnn.data.idx import read_idx

ARRAY = np.arange(3 * 20 * 20, dtype=np.uint8).reshape(3, 20, 20)


def message(path: Path, content: bytes) -> str:
    """Return the message of the OSError that reading the content raises, without the name of the file."""
    path.write_bytes(content)
    with pytest.raises(OSError, match=f"^{re.escape(str(path))}: ") as caught:
        read_idx(path)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_truncated_file_raises_at_each_length(tmp_path: Path, level: int):
    whole = gzip.compress(idx(ARRAY), level)
    for size in range(2, len(whole)):
        assert "truncated gzip data" in message(tmp_path / "file", whole[:size]), size


def test_damaged_gzip_data_raises(tmp_path: Path):
    path, whole = tmp_path / "file", gzip.compress(idx(ARRAY), 0)
    checksum = bytearray(whole)
    checksum[-8] ^= 1
    assert message(path, bytes(checksum)).startswith("damaged gzip data: CRC check failed")
    content = bytearray(whole)
    content[100] ^= 1
    assert message(path, bytes(content)).startswith("damaged gzip data: CRC check failed")
    length = bytearray(whole)
    length[-1] ^= 1
    assert message(path, bytes(length)) == "damaged gzip data: Incorrect length of data produced"
    method = bytearray(whole)
    method[2] = 7
    assert message(path, bytes(method)) == "damaged gzip data: Unknown compression method"
    kind = bytearray(whole)
    kind[10] |= 6  # block type 3 is reserved
    assert "damaged gzip data: Error -3" in message(path, bytes(kind))
    assert message(path, whole + b"x") == "damaged gzip data: garbage after the end"


def test_zeros_after_the_gzip_data_are_ignored(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(ARRAY)) + bytes(100))
    assert np.array_equal(read_idx(path), ARRAY)


def test_other_content_raises(tmp_path: Path):
    path = tmp_path / "file"
    assert "empty" in message(path, gzip.compress(b""))
    assert "74 65 78 74" in message(path, gzip.compress(b"text"))
    assert "50 4b 03 04" in message(path, b"PK\3\4")
    assert "gzip" in message(path, gzip.compress(gzip.compress(idx(ARRAY))))
    short = gzip.compress(idx(ARRAY)[:-1])
    assert re.search(r"truncated.* 1215 bytes.*\[3, 20, 20\].* 1216", message(path, short))


def test_a_decompression_bomb_is_not_decompressed(tmp_path: Path):
    """The content is 200 MB of zeros after a header that declares 1216 bytes."""
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(ARRAY) + bytes(200_000_000)))
    tracemalloc.start()
    with pytest.raises(OSError, match="more than the expected 1216 bytes"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_round_trip_of_random_arrays(tmp_path: Path):
    seed = time.time_ns()
    print("seed", seed)
    generator = np.random.default_rng(seed)
    path = tmp_path / "file"
    for round_ in range(60):
        shape = tuple(generator.integers(1, 30, generator.integers(1, 5)))
        kind = generator.choice(["noise", "few", "same", "int32"])
        high = {"noise": 256, "few": 3, "same": 1, "int32": 2**31 - 1}[kind]
        array = generator.integers(0, high, shape).astype(np.int32 if kind == "int32" else np.uint8)
        content = idx(array)
        level = (0, 1, 6, 9)[round_ % 4]
        cut = int(generator.integers(0, len(content)))
        parts = (content[:cut], content[cut:]) if round_ % 3 == 0 else (content,)
        path.write_bytes(b"".join(gzip.compress(part, level) for part in parts) if round_ % 5 else content)
        read = read_idx(path)
        assert read.dtype == array.dtype
        assert np.array_equal(read, array)


def test_mutated_files_are_read_or_raise(tmp_path: Path):
    seed = time.time_ns()
    print("seed", seed)
    chance = random.Random(seed)
    plain = idx(np.random.default_rng(1).integers(0, 40, (5, 14, 14), dtype=np.uint8))
    originals = [plain] + [gzip.compress(plain, level) for level in (1, 6, 9)]
    path = tmp_path / "file"
    read = 0
    for _ in range(3000):
        content = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(min(len(content), 24) if chance.random() < 0.3 else len(content))
            edit = chance.randrange(4)
            if edit == 0:
                content[at] = chance.randrange(256)
            elif edit == 1:
                content[at] ^= 1 << chance.randrange(8)
            elif edit == 2:
                content[at:at] = chance.randbytes(chance.randint(1, 8))
            else:
                del content[at : at + chance.randint(1, 8)]
        if chance.random() < 0.1:
            del content[chance.randrange(len(content)) :]
        path.write_bytes(content)
        try:
            array = read_idx(path)
        except OSError as error:
            message = str(error)
        else:
            read += 1
            message = str(path)
            assert array.nbytes <= 1032 * len(content)
        assert message.startswith(str(path))
    assert read > 0


def test_a_header_of_a_huge_array_raises_quickly(tmp_path: Path):
    for content in (
        b"\0\0\x08\x04" + b"\xff" * 16,
        b"\0\0\x08\x02" + b"\0\xff\xff\xff" * 2 + b"few bytes",
        gzip.compress(b"\0\0\x08\x03" + b"\0\0\xff\xff" * 3),
    ):
        path = tmp_path / "file"
        path.write_bytes(content)
        started = time.perf_counter()
        with pytest.raises(OSError, match="IDX header"):
            read_idx(path)
        assert time.perf_counter() - started < 1


def test_missing_files_and_folders_raise(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(OSError, match="not a regular file"):
        read_idx(tmp_path)
