"""Measure seconds per training epoch of both engines and of plain PyTorch, in one run.

    python benchmarks/epoch.py --networks session7_net recognition_cnn --threads 1 2 --isa all

All contenders have the same data in memory, the same batches, SGD with momentum, the same number of threads and, except
for torch.compile, the same instruction set. PyTorch runs a usual loop that gathers uint8 images, normalizes them and
steps, with no metrics except the sum of the loss; "bf16" is the same loop under autocast to bfloat16. mnistcnn runs one
call of `train`, in float32. The time of an epoch of 60,000 images is extrapolated from the measured steps. Compilation
is not timed.

The % of peak FMA throughput is 6 operations per multiply-accumulate of the network, divided by the time and by the
throughput of a loop of independent multiply-adds on the same threads. It is given for two peaks: the median of that
loop when it is measured in turns with the contenders, and its maximum before and after them. On a machine whose speed
varies, only the first is comparable with an idle machine.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import timing

LIMIT = "multiply-adds alone"
RUNS_PER_STEP = 10  # of the multiply-add loop: about a millisecond


def measure(arguments: argparse.Namespace) -> list[timing.Record]:
    """Return the records of one cell; runs in the process of that cell."""
    import torch
    from contenders import load, names_of

    _, threads = timing.cell_of(arguments)
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", module="torch")
    data = load(arguments.batch_size)
    return [_network(name, data, arguments) for name in names_of(arguments.networks)]


def _contenders(name: str, data: Any, arguments: argparse.Namespace, threads: int) -> dict[str, timing.Steps]:
    """Return the contenders by label, all with the same initial weights."""
    from contenders import OurTraining, TorchTraining, engines_of

    import mnistcnn

    def fresh() -> mnistcnn.Model:
        return mnistcnn.create_model(name, seed=1)

    size = arguments.batch_size
    modes = ["eager", "channels_last", *(["compile"] if name in arguments.compile else [])]
    variants = [*modes, *(f"{mode} bf16" for mode in modes if arguments.bf16)]
    theirs = {f"torch {each}": TorchTraining(fresh(), data, size, each).steps for each in variants}
    engines = engines_of(fresh())
    return theirs | {f"mnistcnn {each}": OurTraining(fresh(), data, size, each, threads).steps for each in engines}


def _network(name: str, data: Any, arguments: argparse.Namespace) -> timing.Record:
    import mnistcnn
    from mnistcnn._internal.native import core
    from mnistcnn.profile.epoch_times import EPOCH

    instruction_set, threads = timing.cell_of(arguments)
    found = _contenders(name, data, arguments, threads)
    found[LIMIT] = lambda steps: _multiply_adds(instruction_set, threads, steps)
    peaks = [core.peak_flops(instruction_set, threads=threads, seconds=0.2)]
    turns = timing.take_turns(found, arguments.seconds, arguments.rounds, len(data) // arguments.batch_size)
    peaks.append(core.peak_flops(instruction_set, threads=threads, seconds=0.2))
    medians = turns.medians
    limit = _multiply_adds(instruction_set, threads, 1) / medians.pop(LIMIT)
    epochs = {label: seconds * EPOCH / arguments.batch_size for label, seconds in medians.items()}
    operations = 6 * mnistcnn.create_model(name).summary().macs * EPOCH
    return {
        "network": name,
        "instruction_set": instruction_set,
        "threads": threads,
        "seconds_per_epoch": epochs,
        "peak_gflops": max(peaks) / 1e9,
        "share_of_peak": {label: operations / seconds / max(peaks) for label, seconds in epochs.items()},
        "limit_gflops": limit / 1e9,
        "share_of_limit": {label: operations / seconds / limit for label, seconds in epochs.items()},
        **turns.to_dict(),
    }


def _multiply_adds(instruction_set: str, threads: int, steps: int) -> float:
    """Run the multiply-add loop; return the number of operations."""
    from mnistcnn._internal.native import core

    return core.run_multiply_adds(instruction_set, threads=threads, runs=steps * RUNS_PER_STEP)


def table(records: list[timing.Record]) -> str:
    """Return the table of one cell."""
    labels = list(dict.fromkeys(label for record in records for label in record["seconds_per_epoch"]))
    rows = []
    for record in records:
        epochs, ours = record["seconds_per_epoch"], record["seconds_per_epoch"].get("mnistcnn lanes")
        theirs = min(seconds for label, seconds in epochs.items() if label.startswith("torch"))
        shares = [record[each].get("mnistcnn lanes") for each in ("share_of_limit", "share_of_peak")]
        seconds = [f"{epochs[label]:.2f}" if label in epochs else "" for label in labels]
        last = ["", "", ""] if ours is None else [f"{theirs / ours:.1f}", *(f"{100 * each:.0f} %" for each in shares)]
        rows.append([record["network"], *seconds, *last])
    peak = max(record["peak_gflops"] for record in records)
    headings = ["network", *labels, "speedup of lanes over the fastest PyTorch"]
    headings += ["% of peak FMA, in turns", f"% of {peak:.0f} GFLOP/s peak"]
    return timing.markdown(headings, rows)


def main() -> None:
    parser = timing.parser_of(__doc__ or "", seconds=8, networks=["session7_net", "budget_model3"], batch_size=128)
    parser.add_argument(
        "--compile",
        nargs="*",
        default=["session7_net"],
        metavar="NETWORK",
        help="networks to measure with torch.compile too; compilation takes minutes (none: --compile without a name)",
    )
    parser.add_argument(
        "--no-bf16",
        dest="bf16",
        action="store_false",
        help="leave out autocast to bfloat16, which PyTorch emulates slowly on CPUs without instructions for it",
    )
    arguments = parser.parse_args()
    records = timing.run_cells(__file__, arguments, measure)
    if records is None:
        return
    timing.heading("Seconds per epoch in training")
    print(f"60,000 images in batches of {arguments.batch_size}; medians of {arguments.rounds} interleaved turns.")
    timing.show_cells(records, table)


if __name__ == "__main__":
    main()
