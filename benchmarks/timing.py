"""What the benchmarks share: turns in fair order, an eye on other processes, cells, and tables in Markdown.

A cell is one instruction set with one number of threads. It runs in a process of its own, because libtorch chooses its
kernels when it is loaded; within a cell all contenders take turns, so that a machine that slows down slows down all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Steps = Callable[[int], None]  # makes so many steps
Record = dict[str, Any]

# How libtorch and oneDNN are kept to an instruction set that is not this machine's best.
_RESTRICTIONS = {
    "baseline": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
_OPTIONAL = ("compile", "onnxruntime")  # contenders that may be missing or fail, which is no reason to measure nothing
_DISTURBED = 0.1  # the share of the machine that others may use before a table says so


# ---- measuring


@dataclass(frozen=True)
class Turns:
    """What came of it."""

    times: dict[str, list[float]]  # of every turn of every contender, seconds per step
    failed: dict[str, str]  # who could not run, and why
    foreign_load: float | None  # the share of all cores that others took meanwhile; None where that is unknown

    @property
    def medians(self) -> dict[str, float]:
        """Seconds per step of every contender."""
        return {label: statistics.median(each) for label, each in self.times.items()}

    def to_dict(self) -> Record:
        """What a table says below itself."""
        spread = max((max(each) - min(each)) / statistics.median(each) for each in self.times.values())
        return {"spread": spread, "failed": self.failed, "foreign_load": self.foreign_load}


def take_turns(contenders: dict[str, Steps], seconds: float, rounds: int, most: int) -> Turns:
    """Lets all contenders work for about `seconds` together, after a warm-up that is not counted.

    Every round begins with another contender; a turn has at most `most` steps.
    """
    failed: dict[str, str] = {}
    steps: dict[str, int] = {}
    for label, run in contenders.items():
        try:
            run(2)  # allocations, and a compiler's work
            steps[label] = steps_of_a_turn(run, seconds / (rounds * len(contenders)), most)
        except Exception as error:
            if not any(optional in label for optional in _OPTIONAL):
                raise
            failed[label] = f"{type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}"
    labels = list(steps)
    times: dict[str, list[float]] = {label: [] for label in labels}
    watch = Watch()
    for index in range(rounds):
        first = index % len(labels)
        for label in labels[first:] + labels[:first]:
            times[label].append(per_step(contenders[label], steps[label]))
    return Turns(times, failed, watch.foreign_load())


def steps_of_a_turn(run: Steps, seconds: float, most: int) -> int:
    """How many steps fill so many seconds."""
    return max(1, min(most, round(seconds / per_step(run, 2))))


def per_step(run: Steps, steps: int) -> float:
    """Seconds."""
    start = time.perf_counter()
    run(steps)
    return (time.perf_counter() - start) / steps


# ---- what others do meanwhile


class Watch:
    """Tells the share of all cores that other processes, and other guests of the machine, took since it was made."""

    def __init__(self) -> None:
        self.begin = _busy_seconds()

    def foreign_load(self) -> float | None:
        """None where the system does not tell."""
        end = _busy_seconds()
        if self.begin is None or end is None:
            return None
        wall, busy, own = (after - before for before, after in zip(self.begin, end, strict=True))
        return max(0.0, (busy - own) / (wall * (os.cpu_count() or 1)))


def _busy_seconds() -> tuple[float, float, float] | None:
    """Wall clock, what all cores worked, and what this process and its finished children did of it."""
    try:
        fields = [int(each) for each in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _, _, interrupts, soft, stolen = fields
    own = os.times()
    busy = (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system


# ---- cells


def parser_of(description: str, *, seconds: float, networks: Sequence[str], batch_size: int) -> argparse.ArgumentParser:
    """The options that all have."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(networks), help="names, or all")
    parser.add_argument("--isa", nargs="+", default=["best"], help="baseline, avx2, avx512, best, or all")
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, cores}))
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--seconds", type=float, default=seconds, help="to measure each network in each cell")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender; the median counts")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to a file")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser


def run_cells(script: str, arguments: argparse.Namespace, work: Callable[[argparse.Namespace], list[Record]]) -> Any:
    """The records of all cells; in the process of a cell, prints its records and returns None."""
    if arguments.cell:
        print(json.dumps(work(arguments)))
        return None
    records = []
    for instruction_set in instruction_sets(arguments.isa):
        for threads in arguments.threads:
            records += _run_cell(script, instruction_set, threads)
    if arguments.json:
        facts = {"machine": machine(), "versions": versions(), **vars(arguments)}
        Path(arguments.json).write_text(json.dumps({**facts, "records": records}, indent=1) + "\n", encoding="utf-8")
    return records


def cell_of(arguments: argparse.Namespace) -> tuple[str, int]:
    """Instruction set and threads of the process's own cell."""
    name, threads = arguments.cell.split(":")
    return name, int(threads)


def instruction_sets(wanted: Sequence[str]) -> list[str]:
    """Those that are meant; one that this machine lacks ends the program."""
    from mnistcnn._internal.native import core

    there = core.instruction_sets()
    chosen = there if list(wanted) == ["all"] else [there[0] if each == "best" else each for each in wanted]
    missing = sorted(set(chosen) - set(there))
    if missing:
        raise SystemExit(f"--isa {', '.join(missing)}: this machine has {', '.join(there)}")
    return chosen


def _run_cell(script: str, instruction_set: str, threads: int) -> list[Record]:
    from mnistcnn._internal.native import core

    print(f"{Path(script).name}: {instruction_set}, {threads} thread(s)", file=sys.stderr, flush=True)
    environment = {**os.environ, "MNISTCNN_ISA": instruction_set, "OMP_NUM_THREADS": str(threads)}
    if instruction_set != core.instruction_sets()[0]:
        environment |= _RESTRICTIONS[instruction_set]
    command = [sys.executable, script, *sys.argv[1:], "--cell", f"{instruction_set}:{threads}"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: list[Record] = json.loads(done.stdout.splitlines()[-1])
    return found


# ---- words


def machine() -> str:
    """The processor's name and its cores."""
    names = [platform.processor() or platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")] or names
    except OSError:
        pass
    return f"{names[0]}, {os.cpu_count()} cores"


def versions() -> str:
    import torch

    import mnistcnn

    return f"mnistcnn {mnistcnn.__version__}, PyTorch {torch.__version__}"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is aligned to the left."""
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, rule, *rows])


def heading(title: str) -> None:
    print(f"# {title}\n\n{machine()}; {versions()}.")


def show_cells(records: Sequence[Record], table: Callable[[list[Record]], str]) -> None:
    """A section for each cell, with what disturbed it."""
    for cell in dict.fromkeys((record["instruction_set"], record["threads"]) for record in records):
        own = [record for record in records if (record["instruction_set"], record["threads"]) == cell]
        print(f"\n## {cell[0]}, {cell[1]} thread{'s' if cell[1] > 1 else ''}\n\n{table(own)}")
        for record in own:
            for label, reason in record.get("failed", {}).items():
                print(f"\n{record['network']}: {label} is left out: {reason}")
        print(f"\n{disturbance(own)}")


def disturbance(records: Sequence[Record]) -> str:
    """What the numbers are worth."""
    loads = [record["foreign_load"] for record in records if record["foreign_load"] is not None]
    text = f"Turns of one contender differed by up to {100 * max(record['spread'] for record in records):.0f} %"
    if not loads:
        return f"{text}; what other processes did is not known here."
    warning = " **The machine was not quiet: don't quote these numbers.**" if max(loads) > _DISTURBED else ""
    return f"{text}; other processes took up to {100 * max(loads):.0f} % of the machine.{warning}"
