"""Measure images per second in prediction, of both engines, of PyTorch and of onnxruntime, in one run.

    python benchmarks/predict.py --networks all --threads 1 2

All take uint8 images in memory and return one row of outputs per image: PyTorch in inference mode, onnxruntime with the
network exported by torch.onnx (including the normalization), mnistcnn with one call of `predict`. onnxruntime is
measured if onnx, onnxscript and onnxruntime are installed.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import timing


def measure(arguments: argparse.Namespace) -> list[timing.Record]:
    """Return the records of one cell; runs in the process of that cell."""
    import torch
    from contenders import load, names_of

    _, threads = timing.cell_of(arguments)
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore")  # from the exporter
    data = load(arguments.batch_size)
    return [_network(name, data, arguments) for name in names_of(arguments.networks)]


def _contenders(name: str, data: Any, arguments: argparse.Namespace, threads: int) -> dict[str, timing.Steps]:
    from contenders import OnnxPrediction, OurPrediction, TorchPrediction, engines_of

    import mnistcnn

    model, size = mnistcnn.create_model(name, seed=1), arguments.batch_size
    found = {f"torch {each}": TorchPrediction(model, data, size, each).steps for each in ("eager", "channels_last")}
    if arguments.onnx:
        found["onnxruntime"] = OnnxPrediction(model, data, size, threads).steps
    engines = engines_of(model)
    return found | {f"mnistcnn {each}": OurPrediction(model, data, size, each, threads).steps for each in engines}


def _network(name: str, data: Any, arguments: argparse.Namespace) -> timing.Record:
    instruction_set, threads = timing.cell_of(arguments)
    found = _contenders(name, data, arguments, threads)
    turns = timing.take_turns(found, arguments.seconds, arguments.rounds, len(data) // arguments.batch_size)
    return {
        "network": name,
        "instruction_set": instruction_set,
        "threads": threads,
        "images_per_second": {label: arguments.batch_size / seconds for label, seconds in turns.medians.items()},
        **turns.to_dict(),
    }


def table(records: list[timing.Record]) -> str:
    """Return the table of one cell."""
    labels = list(dict.fromkeys(label for record in records for label in record["images_per_second"]))
    rows = []
    for record in records:
        rates, ours = record["images_per_second"], record["images_per_second"].get("mnistcnn lanes")
        others = max(rate for label, rate in rates.items() if not label.startswith("mnistcnn"))
        cells = [f"{rates[label]:,.0f}" if label in rates else "" for label in labels]
        rows.append([record["network"], *cells, "" if ours is None else f"{ours / others:.1f}"])
    return timing.markdown(["network", *labels, "speedup of lanes over the fastest other"], rows)


def main() -> None:
    parser = timing.parser_of(__doc__ or "", seconds=4, networks=["all"], batch_size=512)
    parser.add_argument("--no-onnx", dest="onnx", action="store_false", help="do not measure onnxruntime")
    arguments = parser.parse_args()
    records = timing.run_cells(__file__, arguments, measure)
    if records is None:
        return
    timing.heading("Images per second in prediction")
    print(f"Batches of {arguments.batch_size}; medians of {arguments.rounds} interleaved turns.")
    timing.show_cells(records, table)


if __name__ == "__main__":
    main()
