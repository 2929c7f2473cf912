"""Print the memory of training: the arena of the lanes engine, and the size of all layer outputs for comparison.

    python benchmarks/memory.py --batch-size 128

The second includes parameters and their gradients, the arena does not.
"""

from __future__ import annotations

import argparse

import timing


def main() -> None:
    import mnistcnn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    timing.heading("Memory of the lanes engine in training")
    print(f"Batches of {arguments.batch_size}, all cores, MiB. Parameters and their gradients are not included.\n")
    rows = []
    for name in mnistcnn.list_models():
        table = mnistcnn.create_model(name).summary(arguments.batch_size)
        kept = 4 * table.parameters * 2 + arguments.batch_size * table.memory_bytes
        taken = "" if table.training_bytes is None else f"{table.training_bytes / 2**20:.0f}"
        rows.append([name, f"{table.parameters:,}", f"{kept / 2**20:.0f}", taken])
    print(timing.markdown(["network", "parameters", "all outputs, parameters and gradients", "lanes"], rows))


if __name__ == "__main__":
    main()
