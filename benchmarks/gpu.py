"""Measure seconds per training epoch on a CUDA device, of the `aten` engine and of plain PyTorch, in one run.

    python benchmarks/gpu.py --networks all

Without a CUDA device it prints a message and exits with code 0. `mnistcnn.train` reads the images from the CPU and
copies each batch to the device; PyTorch has them on the device.
"""

from __future__ import annotations

import argparse

import timing


def measure(arguments: argparse.Namespace) -> list[timing.Record]:
    """Return the records of one cell; its instruction set and number of threads have no effect here."""
    from contenders import OurTraining, TorchTraining, load, names_of

    import mnistcnn
    from mnistcnn.profile.epoch_times import EPOCH

    data, size = load(arguments.batch_size), arguments.batch_size
    records = []
    for name in names_of(arguments.networks):
        models = [mnistcnn.create_model(name, seed=1) for _ in range(3)]
        found = {
            "torch eager": TorchTraining(models[0], data, size, "eager", "cuda").steps,
            "torch channels_last": TorchTraining(models[1], data, size, "channels_last", "cuda").steps,
            "mnistcnn aten": OurTraining(models[2].to("cuda"), data, size, "aten", 1).steps,
        }
        turns = timing.take_turns(found, arguments.seconds, arguments.rounds, len(data) // size)
        epochs = {label: seconds * EPOCH / size for label, seconds in turns.medians.items()}
        records.append({"network": name, "seconds_per_epoch": epochs, **turns.to_dict()})
    return records


def main() -> None:
    parser = timing.parser_of(__doc__ or "", seconds=6, networks=["all"], batch_size=128)
    parser.set_defaults(threads=[1])
    arguments = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print(f"no CUDA device is available (PyTorch {torch.__version__}); nothing was measured")
        return
    records = timing.run_cells(__file__, arguments, measure)
    if records is None:
        return
    timing.heading(f"Seconds per epoch in training on {torch.cuda.get_device_name()}")
    print(f"60,000 images in batches of {arguments.batch_size}; medians of {arguments.rounds} interleaved turns.\n")
    labels = list(records[0]["seconds_per_epoch"])
    rows = [
        [record["network"], *(f"{record['seconds_per_epoch'][label]:.2f}" for label in labels)] for record in records
    ]
    print(f"{timing.markdown(['network', *labels], rows)}\n\n{timing.disturbance(records)}")


if __name__ == "__main__":
    main()
