"""Measure the slowdown of training while another process competes for one of the cores.

    python benchmarks/competitor.py --networks session7_net --threads 2

Signals stop and continue the competitor, so that measurements with and without it alternate in one run. With two
threads on two cores, one of them shared equally, the ideal slowdown is 1.33. A program whose threads wait at every
barrier for the preempted thread slows down by a factor of 2 or more.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
import warnings
from types import TracebackType

import timing

_BUSY = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
parent = os.getppid()
while os.getppid() == parent:  # exits when the benchmark exits, also after a crash
    for _ in range(1_000_000):
        pass
"""


class Competitor:
    """Process that keeps one core busy; it is paused at first."""

    def __enter__(self) -> Competitor:
        core = min(os.sched_getaffinity(0))
        self.process = subprocess.Popen([sys.executable, "-c", _BUSY, str(core)])
        time.sleep(0.5)  # wait until it has started
        self.pause()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop the process."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process."""
        self.process.send_signal(signal.SIGCONT)
        time.sleep(0.05)  # wait until the scheduler has reacted


def measure(arguments: argparse.Namespace) -> list[timing.Record]:
    """Return the records of one cell; runs in the process of that cell."""
    import torch
    from contenders import OurTraining, TorchTraining, load, names_of

    import mnistcnn

    instruction_set, threads = timing.cell_of(arguments)
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", module="torch")
    data = load(arguments.batch_size)
    records = []
    for name in names_of(arguments.networks):
        models = [mnistcnn.create_model(name, seed=1) for _ in range(2)]
        found = {
            "torch eager": TorchTraining(models[0], data, arguments.batch_size, "eager").steps,
            "mnistcnn lanes": OurTraining(models[1], data, arguments.batch_size, "lanes", threads).steps,
        }
        cell = {"network": name, "instruction_set": instruction_set, "threads": threads}
        records.append({**cell, **_alternate(found, arguments, len(data) // arguments.batch_size)})
    return records


def _alternate(found: dict[str, timing.Steps], arguments: argparse.Namespace, most: int) -> timing.Record:
    quiet: dict[str, list[float]] = {label: [] for label in found}
    busy: dict[str, list[float]] = {label: [] for label in found}
    turn = arguments.seconds / (2 * arguments.rounds * len(found))
    steps, foreign = {}, []
    for label, run in found.items():
        run(2)
        steps[label] = timing.steps_of_a_turn(run, turn, most)
    with Competitor() as competitor:
        for _ in range(arguments.rounds):
            for label, run in found.items():
                watch = timing.Watch()
                quiet[label].append(timing.per_step(run, steps[label]))
                foreign.append(watch.foreign_load())
                competitor.resume()
                busy[label].append(timing.per_step(run, steps[label]))
                competitor.pause()
    medians = {label: (statistics.median(quiet[label]), statistics.median(busy[label])) for label in found}
    return {
        "milliseconds": {label: (1e3 * alone, 1e3 * beside) for label, (alone, beside) in medians.items()},
        "slowdown": {label: beside / alone for label, (alone, beside) in medians.items()},
        **timing.Turns(quiet, {}, None if None in foreign else statistics.mean(foreign)).to_dict(),
    }


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    parser = timing.parser_of(__doc__ or "", seconds=10, networks=["session7_net", "budget_model3"], batch_size=128)
    parser.set_defaults(threads=[cores])
    arguments = parser.parse_args()
    records = timing.run_cells(__file__, arguments, measure)
    if records is None:
        return
    timing.heading("Slowdown by a busy process on one core")
    print(f"Training in batches of {arguments.batch_size}, {cores} cores; medians of {arguments.rounds} turns each.\n")
    headings = ["network, threads", "contender", "alone, ms per step", "with the competitor, ms per step", "slowdown"]
    rows = [
        [
            f"{record['network']}, {record['threads']}",
            label,
            *(f"{each:.2f}" for each in record["milliseconds"][label]),
            f"{slowdown:.2f}",
        ]
        for record in records
        for label, slowdown in record["slowdown"].items()
    ]
    print(f"{timing.markdown(headings, rows)}\n\n{timing.disturbance(records)}")


if __name__ == "__main__":
    main()
