"""Predict the speed of a training step on more cores than this machine has.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --networks session7_net --batch-sizes 128 --threads 1 2 8

Every task of a step is timed on one thread. The step is divided into tasks as for N threads, since the division depends
on N. The tasks are then scheduled on N threads by the rules of the thread pool (`common/thread_pool.cpp`): each thread
executes its own range first, then unclaimed tasks, and waits at the end of each phase. Serial parts run on one thread.
The prediction for one and two threads is compared with a measurement.
"""

from __future__ import annotations

import argparse
import heapq
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import timing

MAX_CHUNKS = 1024  # kMaxChunks of the thread pool: a phase with more tasks is claimed in chunks of several tasks
THREADS = (1, 2, 4, 8, 16)
MEASURED_THREADS = (1, 2)
BATCH_SIZES = (16, 32, 64, 128)  # with 16 images, two threads divide a block
NETWORKS = ("session7_net", "assignment7_model2", "era5_net")


@dataclass(frozen=True)
class Phase:
    """Tasks between two barriers, and the serial part after them. In seconds."""

    tasks: tuple[float, ...]
    serial: float = 0.0


# ---- scheduling


def step_seconds(phases: Sequence[Phase], threads: int, barrier: float) -> float:
    """Return the predicted seconds of a step. ``barrier``: seconds of a barrier between several threads."""
    total = 0.0
    ascending = False
    for phase in phases:
        if phase.tasks:
            total += tasks_seconds(phase.tasks, threads, ascending) + (barrier if threads > 1 else 0.0)
            ascending = not ascending
        total += phase.serial
    return total


def tasks_seconds(tasks: Sequence[float], threads: int, ascending: bool = True) -> float:
    """Return the seconds until the last task is done. The thread that is free first claims the next task."""
    chunks = min(len(tasks), MAX_CHUNKS)
    seconds = [sum(tasks[first:end]) for first, end in _ranges(len(tasks), chunks)]
    orders = [_claim_order(thread, threads, chunks, ascending) for thread in range(threads)]
    claimed: set[int] = set()
    free = [(0.0, thread) for thread in range(threads)]  # a heap
    last = 0.0
    while len(claimed) < chunks:
        time, thread = heapq.heappop(free)
        chunk = next((each for each in orders[thread] if each not in claimed), None)
        if chunk is None:
            continue
        claimed.add(chunk)
        last = max(last, time + seconds[chunk])
        heapq.heappush(free, (time + seconds[chunk], thread))
    return last


def _claim_order(thread: int, threads: int, chunks: int, ascending: bool) -> Iterator[int]:
    """Yield the chunks in the order in which a thread tries to claim them, as `Scheduler::run_phase` does."""
    ranges = _ranges(chunks, threads)
    own = range(*ranges[thread])
    yield from own if ascending else reversed(own)
    for other in range(1, threads):
        theirs = range(*ranges[(thread + other) % threads])
        yield from reversed(theirs) if ascending else theirs


def _ranges(count: int, parts: int) -> list[tuple[int, int]]:
    return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


# ---- measurements


class Subject:
    """A network that trains on random images."""

    def __init__(self, name: str, batch_size: int, steps: int) -> None:
        import numpy as np

        import mnistcnn

        self.model = mnistcnn.create_model(name)
        self.batch_size, self.steps = batch_size, steps
        random = np.random.default_rng(0)
        count = batch_size * steps
        images = random.integers(0, 256, (count, *self.model.input_shape), dtype=np.uint8)
        names = [str(each) for each in range(self.model.num_classes)]
        labels = random.integers(0, self.model.num_classes, count)
        self.images = mnistcnn.ImageSet.from_arrays(images, labels, classes=names)
        self.trainers: dict[int, Any] = {}

    def seconds(self, threads: int) -> float:
        """Train for an epoch and return the seconds per step."""
        import mnistcnn

        if threads not in self.trainers:
            optimizer = mnistcnn.optim.SGD(lr=0.0, momentum=0.9)  # does not change the weights
            self.trainers[threads] = mnistcnn.Trainer(
                self.model, batch_size=self.batch_size, optimizer=optimizer, threads=threads, progress=False
            )
            self.seconds(threads)  # warm-up
        (record,) = self.trainers[threads].epochs(self.images, epochs=1)
        return float(record.seconds) / self.steps

    def task_times(self, threads: int) -> tuple[list[list[tuple[int, int, float]]], float]:
        """Return the times of all tasks of an epoch, divided for ``threads`` threads, and the seconds per step outside.

        The work outside the engine's step is the optimizer, and the start and end of the epoch.
        """
        from mnistcnn._internal.native import core

        engine = self.model.native_engine("lanes", threads)
        core.start_task_times(engine)
        try:
            seconds = self.seconds(threads)
        finally:
            steps = core.stop_task_times(engine)[-self.steps :]
        in_tasks = sum(task[2] for step in steps for task in step) / len(steps)
        return steps, max(0.0, seconds - in_tasks)


def median_phases(steps: Sequence[Sequence[tuple[int, int, float]]]) -> list[Phase]:
    """Return the phases of a step, with the median time of each task over several steps."""
    times: dict[tuple[int, int], list[float]] = {}
    for step in steps:
        for phase, task, seconds in step:
            times.setdefault((phase, task), []).append(seconds)
    phases = []
    for index in range(1 + max(phase for phase, _ in times)):
        count = sum(phase == index and task >= 0 for phase, task in times)
        tasks = tuple(statistics.median(times[index, task]) for task in range(count))
        phases.append(Phase(tasks, statistics.median(times[index, -1])))
    return phases


@dataclass(frozen=True)
class Result:
    """Predicted and measured seconds per step of a network, by number of threads."""

    network: str
    batch_size: int
    predicted: dict[int, float]
    measured: dict[int, float]
    barrier: float  # measured at the same time

    @property
    def error(self) -> float:
        """Return the largest relative difference between prediction and measurement."""
        return max(abs(self.predicted[each] / self.measured[each] - 1) for each in self.measured)

    @property
    def is_checked_undivided(self) -> bool:
        """Return whether the threads of all measurements computed whole blocks of 16 images."""
        return self.batch_size >= 16 * max(self.measured)


def measure(name: str, batch_size: int, threads: Sequence[int], rounds: int, seconds: float) -> Result:
    """Measure and predict in turns, because the speed of a shared machine changes."""
    from mnistcnn._internal.native import core

    barrier = core.phase_seconds(core.instruction_sets()[0], threads=2, seconds=0.3)
    probe = Subject(name, batch_size, 4)
    steps = max(4, min(256, round(seconds / (rounds * (len(threads) + 2)) / probe.seconds(1))))
    subject = Subject(name, batch_size, steps)
    checked = [each for each in MEASURED_THREADS if each in threads and each <= (os.cpu_count() or 1)]
    measured: dict[int, list[float]] = {each: [] for each in checked}
    phases: dict[int, list[list[Phase]]] = {each: [] for each in threads}
    outside: list[float] = []
    for _ in range(rounds):
        for each in checked:
            measured[each].append(subject.seconds(each))
        for each in threads:
            times, rest = subject.task_times(each)
            phases[each].append(median_phases(times))
            if each == 1:
                outside.append(rest)
    predicted = {
        each: min(outside) + min(step_seconds(one_round, each, barrier) for one_round in phases[each])
        for each in threads
    }
    return Result(name, batch_size, predicted, {each: min(measured[each]) for each in checked}, barrier)


# ---- output


def table(results: Sequence[Result], threads: Sequence[int]) -> str:
    """Return the table of all results in Markdown."""
    checked = list(results[0].measured)
    headings = ["network", "batch"]
    for each in checked:
        headings += [f"measured ms, {_threads(each)}", f"predicted ms, {_threads(each)}"]
    headings += [f"predicted speed-up, {_threads(each)}" for each in threads if each > 1]
    rows = []
    for result in results:
        row = [result.network, str(result.batch_size)]
        for each in checked:
            row += [f"{1e3 * result.measured[each]:.2f}", f"{1e3 * result.predicted[each]:.2f}"]
        row += [f"{result.predicted[1] / result.predicted[each]:.1f}" for each in threads if each > 1]
        rows.append(row)
    return timing.markdown(headings, rows)


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


NOTES = """\
All columns named "predicted" are computed, not measured: the times of the single tasks of a step, scheduled on N
threads by the rules of the thread pool, with {lowest:.1f} to {highest:.1f} microseconds per barrier (measured with two
threads).

The prediction ignores that cores share the last-level cache, the memory bandwidth and the power budget; that each core
has an L2 cache of its own, so that its tasks find more of their data there than on one thread; that threads which
compute parts of one block read what the others wrote, so that data moves between these caches; and that a barrier
between many threads takes longer than one between two. The last two make the prediction too high if there are fewer
blocks of 16 images than threads. Work outside the engine's step, such as the optimizer, counts as serial.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=list(BATCH_SIZES))
    parser.add_argument("--threads", nargs="+", type=int, default=list(THREADS), help="of the prediction")
    parser.add_argument("--seconds", type=float, default=5, help="of measurement for each network and batch size")
    parser.add_argument("--rounds", type=int, default=5, help="measurements in turns; the fastest is reported")
    arguments = parser.parse_args()
    threads = sorted({1, *arguments.threads})
    watch = timing.Watch()
    results = [
        measure(name, batch_size, threads, arguments.rounds, arguments.seconds)
        for name in arguments.networks
        for batch_size in arguments.batch_sizes
    ]
    load = watch.foreign_load()
    timing.heading("Predicted speed of training on more cores")
    print(f"\nTime of a training step.\n\n{table(results, threads)}\n")
    barriers = [1e6 * result.barrier for result in results]
    print(NOTES.format(lowest=min(barriers), highest=max(barriers)))
    for undivided, label in ((True, "whole blocks"), (False, "parts of a block")):
        errors = [100 * result.error for result in results if result.is_checked_undivided == undivided]
        if errors:
            print(f"Largest difference to the measurement, if threads compute {label}: {max(errors):.0f} %.\n")
    print(timing.foreign_load_text(load))


if __name__ == "__main__":
    main()
