"""Helpers of the benchmarks: interleaved measurements, load by other processes, cells, and tables in Markdown.

A cell is one instruction set with one number of threads. It runs in its own process, because libtorch selects its
kernels when it is loaded. Within a cell all contenders are measured in turns, so that a change of the machine's speed
affects all of them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Steps = Callable[[int], None]  # runs the given number of steps
Record = dict[str, Any]

# Environment variables that restrict libtorch and oneDNN to an instruction set.
_RESTRICTIONS = {
    "baseline": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
_OPTIONAL = ("compile", "onnxruntime")  # contenders whose failure is reported instead of raised
_DISTURBED = 0.1  # fraction of the CPU time used by other processes above which a table warns


# ---- measurements


@dataclass(frozen=True)
class Turns:
    """Result of `take_turns`."""

    times: dict[str, list[float]]  # seconds per step of every turn, by contender
    failed: dict[str, str]  # contenders that could not run, with the reason
    foreign_load: float | None  # fraction of the CPU time of all cores used by other processes; None if unknown

    @property
    def medians(self) -> dict[str, float]:
        """Return the median seconds per step of every contender."""
        return {label: statistics.median(each) for label, each in self.times.items()}

    def to_dict(self) -> Record:
        """Return the values that are reported below a table."""
        spread = max((max(each) - min(each)) / statistics.median(each) for each in self.times.values())
        return {"spread": spread, "failed": self.failed, "foreign_load": self.foreign_load}


def take_turns(contenders: dict[str, Steps], seconds: float, rounds: int, most: int) -> Turns:
    """Measure all contenders in turns, for about ``seconds`` in total, after a warm-up that is not counted.

    Every round starts with another contender. A turn has at most ``most`` steps. A fifth of this number runs untimed
    before it, because the first steps are slow: the caches contain the data of the contender before.
    """
    failed: dict[str, str] = {}
    steps: dict[str, int] = {}
    for label, run in contenders.items():
        try:
            run(2)  # warm-up: allocations, compilation
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
            contenders[label](max(1, steps[label] // 5))
            times[label].append(per_step(contenders[label], steps[label]))
    return Turns(times, failed, watch.foreign_load())


def steps_of_a_turn(run: Steps, seconds: float, most: int) -> int:
    """Return the number of steps that take about ``seconds``, between 1 and ``most``."""
    steps, step = 2, per_step(run, 2)
    while steps < most and steps * step < seconds / 10:  # a few steps alone are slower than many
        steps = min(2 * steps, most)
        step = per_step(run, steps)
    return max(1, min(most, round(seconds / step)))


def per_step(run: Steps, steps: int) -> float:
    """Return the seconds per step."""
    start = time.perf_counter()
    run(steps)
    return (time.perf_counter() - start) / steps


# ---- load by other processes


class Watch:
    """Measures the CPU time of other processes, and of other guests of a virtual machine, since its creation."""

    def __init__(self) -> None:
        self.begin = _busy_seconds()

    def foreign_load(self) -> float | None:
        """Return the fraction of the CPU time of all cores used by others; None if the system does not report it."""
        end = _busy_seconds()
        if self.begin is None or end is None:
            return None
        wall, busy, own = (after - before for before, after in zip(self.begin, end, strict=True))
        return max(0.0, (busy - own) / (wall * (os.cpu_count() or 1)))


def _busy_seconds() -> tuple[float, float, float] | None:
    """Return the wall time, the busy time of all cores, and that of this process with its children."""
    try:
        fields = [int(each) for each in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _, _, interrupts, soft, stolen = fields
    ticks = os.sysconf("SC_CLK_TCK")
    busy = (user + nice + system + interrupts + soft + stolen) / ticks
    finished = os.times()  # of this process and its finished children
    own = finished.user + finished.system + finished.children_user + finished.children_system
    for child in multiprocessing.active_children():  # workers of a loader
        with suppress(OSError):  # it has ended
            stat = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            own += (int(stat[11]) + int(stat[12])) / ticks  # utime, stime
    return time.monotonic(), busy, own


# ---- cells


def parser_of(description: str, *, seconds: float, networks: Sequence[str], batch_size: int) -> argparse.ArgumentParser:
    """Return a parser with the options that the benchmarks share."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(networks), help="names, or all")
    parser.add_argument("--isa", nargs="+", default=["best"], help="baseline, avx2, avx512, best, or all")
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, cores}))
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--seconds", type=float, default=seconds, help="of measurement for each network in each cell")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each contender; the median is reported")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to a file")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser


def run_cells(script: str, arguments: argparse.Namespace, work: Callable[[argparse.Namespace], list[Record]]) -> Any:
    """Return the records of all cells; in the process of a cell, print its records and return None."""
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
    """Return the instruction set and the number of threads of this process's cell."""
    name, threads = arguments.cell.split(":")
    return name, int(threads)


def instruction_sets(wanted: Sequence[str]) -> list[str]:
    """Return the chosen instruction sets; exit with a message if this machine does not support one."""
    from mnistcnn._internal.native import core

    available = core.instruction_sets()
    chosen = available if list(wanted) == ["all"] else [available[0] if each == "best" else each for each in wanted]
    missing = sorted(set(chosen) - set(available))
    if missing:
        raise SystemExit(f"--isa {', '.join(missing)}: this machine supports only {', '.join(available)}")
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


# ---- output


def machine() -> str:
    """Return the name of the processor and its number of cores."""
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
    """Return a table in Markdown; all columns except the first are aligned to the right."""
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, rule, *rows])


def heading(title: str) -> None:
    print(f"# {title}\n\n{machine()}; {versions()}.")


def show_cells(records: Sequence[Record], table: Callable[[list[Record]], str]) -> None:
    """Print a section for each cell: its table, contenders that failed, and the load by other processes."""
    for cell in dict.fromkeys((record["instruction_set"], record["threads"]) for record in records):
        own = [record for record in records if (record["instruction_set"], record["threads"]) == cell]
        print(f"\n## {cell[0]}, {cell[1]} thread{'s' if cell[1] > 1 else ''}\n\n{table(own)}")
        for record in own:
            for label, reason in record.get("failed", {}).items():
                print(f"\n{record['network']}: {label} was not measured: {reason}")
        print(f"\n{disturbance(own)}")


def disturbance(records: Sequence[Record]) -> str:
    """Return a sentence about the spread of the measurements, and one about the load by other processes."""
    spread = 100 * max(record["spread"] for record in records)
    load = foreign_load_text(*(record["foreign_load"] for record in records))
    return f"Measurements of one contender differed by up to {spread:.0f} %. {load}"


def foreign_load_text(*loads: float | None) -> str:
    """Return a sentence about the load by other processes during measurements, and a warning if it was high."""
    known = [each for each in loads if each is not None]
    if not known:
        return "The load by other processes is unknown on this system."
    warning = " **Other processes were active: do not cite these numbers.**" if max(known) > _DISTURBED else ""
    return f"Other processes used up to {100 * max(known):.0f} % of the CPU time.{warning}"
