"""Compressed logs of trials. Each run of a script adds trials to its log until a time budget is spent."""

from __future__ import annotations

import argparse
import gzip
import re
import time
from collections.abc import Callable
from pathlib import Path

import mnistcnn

# next_trials(log, seconds left): train the next trials, append them to the log, and return them; None if none is left
# or fits into the time.
NextTrials = Callable[[Path, float], mnistcnn.Trials | None]


def seconds_from(text: str) -> float:
    """Return the seconds of a duration such as 90s, 40m or 2h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"a duration must look like 90s, 40m or 2h, got {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def fill(log: Path, budget: float, next_trials: NextTrials) -> None:
    """Train trials until none is left, the budget is spent, or Ctrl-C stops a trial. The log is always complete."""
    deadline = time.monotonic() + budget
    copy = working_copy(log)
    while (left := deadline - time.monotonic()) > 0 and (trials := next_trials(copy, left)) is not None:
        store(copy, log)
        if trials.unfinished:
            break
        print(f"{trials.setting.title}: {trials.headline()}", flush=True)
    if copy != log:
        copy.unlink(missing_ok=True)


def working_copy(log: Path) -> Path:
    """Return an uncompressed copy of the log, with the trials of an earlier copy that an interruption left behind."""
    copy = log.with_suffix("") if log.suffix == ".gz" else log
    if copy != log:
        stored = gzip.decompress(log.read_bytes()).splitlines() if log.exists() else []
        left = copy.read_bytes().splitlines() if copy.exists() else []
        lines = dict.fromkeys([*stored, *left])
        copy.write_bytes(b"".join(line + b"\n" for line in lines))
    return copy


def store(copy: Path, log: Path) -> None:
    """Compress the copy into the log. The same trials give the same bytes."""
    if copy != log:
        part = log.with_name(log.name + ".part")
        part.write_bytes(gzip.compress(copy.read_bytes(), mtime=0))
        part.replace(log)
