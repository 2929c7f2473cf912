"""Random changes of files. The seeds are fixed; MNISTCNN_ATTACKS multiplies the number of files."""

from __future__ import annotations

import copy
import json
import os
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMES = float(os.environ.get("MNISTCNN_ATTACKS", "1"))  # 20 for a thorough check

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 255, 2**31 - 1, 2**31, 2**40, 2**63, 2**64, -(2**63), 10**400),
    *(0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", "text", "1", "\ud800", "日本", "a" * 1000, "SGD", "\x00", "../x"),
    *([], [[]], [None], [1, 2, 3], [0.5, "a"], {}, {"kind": "SGD"}, {"kind": []}, {"kind": "StepLR", "step_size": 2}),
    *({"kind": "Checkpoint", "folder": "x"}, {"name": 1}, [{"kind": "Rotation", "degrees": []}]),
)


def cases(count: int, purpose: str) -> Iterator[random.Random]:
    """Yield a random number generator for each of ``count`` cases, times MNISTCNN_ATTACKS."""
    for number in range(round(count * TIMES)):
        yield random.Random(f"{purpose} {number}")


class Failures:
    """Failures of many cases, one per line of code that raised. The end of a with block asserts that there are none."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            assert not self._found, f"{len(self._found)} failures:\n" + "\n".join(self._found.values())

    @contextmanager
    def case(self, case: object, errors: Any = (), path: Path | None = None) -> Iterator[None]:
        """Accept the documented errors if their messages are good; ``path`` must be in the message if it is given."""
        try:
            yield
        except errors as error:
            message = str(error)
            if path is not None and str(path) not in message:
                self._add("the message does not name the file", case, error)
            if "Exception raised from" in message or "C++" in message or len(message) > 2000:
                self._add("the message is not readable", case, error)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._add(f"{place.filename}:{place.lineno}", case, error)

    def _add(self, problem: str, case: object, error: Exception) -> None:
        key = f"{problem}, {type(error).__name__}"
        self._found.setdefault(key, f"{key}: {str(error)[:500]}\n    in {str(case)[:2000]}")


def changed_data(data: Any, rng: random.Random) -> Any:
    """Return a copy of JSON data with one to three changed, removed, copied or added values."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(data))
        if not places:
            break
        container, key = rng.choice(places)
        _change(container, key, places, rng)
    return data


def _change(container: Any, key: Any, places: list[tuple[Any, Any]], rng: random.Random) -> None:
    kind = rng.random()
    if kind < 0.15:
        del container[key]
    elif kind < 0.3:
        other, place = rng.choice(places)
        container[key] = copy.deepcopy(other[place])
    elif kind < 0.4:
        added = copy.deepcopy(rng.choice(_VALUES))
        if isinstance(container, dict):
            container[rng.choice((*container, "more", "", "kind"))] = added
        else:
            container.insert(key, added)
    elif kind < 0.5 and isinstance(container[key], int | float):
        container[key] = container[key] * rng.choice((-1, 0.5, 2, 1000))
    elif kind < 0.52:
        container[key] = json.loads("[" * 200 + "]" * 200)
    else:
        container[key] = copy.deepcopy(rng.choice(_VALUES))


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield all containers with their keys."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield data, key
        yield from _places(value)


def changed_text(data: Any, rng: random.Random) -> bytes:
    """Return the changed data as JSON; one time in ten also with changed bytes."""
    text = json.dumps(changed_data(data, rng)).encode()
    return changed_bytes(text, rng) if rng.random() < 0.1 else text


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one to eight flipped, replaced, removed or repeated pieces."""
    data = bytearray(content)
    start = rng.choice((64, 1024, len(data)))  # the first bytes hold the header
    for _ in range(rng.randint(1, 8)):
        if not data:
            break
        at, length = rng.randrange(min(start, len(data))), rng.choice((1, 1, 2, 4, 100))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            data[at : at + length] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF))]) * length
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)
