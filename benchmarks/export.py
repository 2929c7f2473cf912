"""Measure exported C headers: error, flash, RAM, and microseconds per image beside onnxruntime; and sizes of pages.

    python benchmarks/export.py --networks session7_net compact_net

Both compute one image per call on one thread, from uint8 pixels. The header is compiled with `gcc -O3 -march=native`.
The error is the largest difference from the outputs of the model, which has pretrained weights, on test images, divided
by the largest output. Flash counts constants only; the column code is the size of the compiled functions on this
machine.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import timing

LARGEST = 100_000  # parameters
MAIN = """
#include "net.h"
void run(const uint8_t *images, float *out, int count) {
  for (int i = 0; i < count; ++i) net_predict(images + 784 * i, out + 10 * i);
}
"""
COMMAND = ("gcc", "-std=c99", "-O3", "-march=native", "-shared", "-fPIC")


def compiled(model: Any, folder: Path) -> tuple[Any, int]:
    """Return a function that computes the outputs of images, and the bytes of its code."""
    import mnistcnn

    mnistcnn.export_c(model, folder / "net.h")
    (folder / "main.c").write_text(MAIN)
    subprocess.run([*COMMAND, "-o", str(folder / "net.so"), str(folder / "main.c"), "-lm"], check=True)
    subprocess.run(["gcc", "-std=c99", "-Os", "-c", "-o", str(folder / "net.o"), str(folder / "main.c")], check=True)
    listed = subprocess.run(["size", "-A", str(folder / "net.o")], check=True, capture_output=True, text=True).stdout
    code = sum(int(line.split()[1]) for line in listed.splitlines() if line.startswith(".text"))
    library = ctypes.CDLL(str(folder / "net.so"))

    def run(images: Any, out: Any) -> None:
        library.run(ctypes.c_void_p(images.ctypes.data), ctypes.c_void_p(out.ctypes.data), len(images))

    return run, code


def row(name: str, images: Any, arguments: argparse.Namespace, folder: Path) -> tuple[list[str], Any]:
    """Return the row of one network, and its measurements."""
    import onnxruntime

    import mnistcnn
    from mnistcnn.export.c_header import flash, ram
    from mnistcnn.export.lowering import lowered

    model = mnistcnn.create_model(name, pretrained=True).eval()
    run, code = compiled(model, folder)
    out = np.zeros((len(images), 10), np.float32)
    run(images, out)
    wanted = model(images).detach().numpy()
    error = float(np.abs(out - wanted).max() / np.abs(wanted).max())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = mnistcnn.export_onnx(model, folder / "net.onnx", pixels=True)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(count: int) -> None:
        for index in range(count):
            session.run(None, {"images": images[index % len(images)][None]})

    def header(count: int) -> None:
        for first in range(0, count, len(images)):
            run(images[: count - first], out)

    turns = timing.take_turns({"C": header, "onnxruntime": predict}, arguments.seconds, arguments.rounds, 100_000)
    program = lowered(model)
    page = mnistcnn.export_html(model, folder / "net.html").stat().st_size
    sizes = [f"{each:,}" for each in (model.parameter_count, program.macs, page, flash(program), code, ram(program))]
    times = [f"{1e6 * turns.medians[label]:.1f}" for label in ("C", "onnxruntime")]
    return [name, *sizes, f"{error:.1e}", *times], turns.to_dict()


def main() -> None:
    from contenders import names_of

    import mnistcnn
    from mnistcnn.data.datasets import load_auto

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["all"], help="names, or all")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=2, help="of measurement for each network")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each contender; the median is reported")
    arguments = parser.parse_args()
    data = load_auto(download=False).test
    images = data.images[: arguments.images]
    small = [name for name in names_of(arguments.networks) if mnistcnn.create_model(name).parameter_count < LARGEST]
    rows, records = [], []
    for name in small:
        with tempfile.TemporaryDirectory() as folder:
            cells, record = row(name, images, arguments, Path(folder))
        rows.append(cells)
        records.append(record)
    timing.heading("Exported C headers and pages")
    shown = f"{len(images):,} test images of {data.name}"
    print(f"Networks with fewer than {LARGEST:,} parameters, {shown}; bytes, float32.\n")
    headings = [
        "network",
        "parameters",
        "MACs",
        "page",
        "flash",
        "code",
        "RAM",
        "largest error",
        "C, us",
        "onnxruntime, us",
    ]
    print(timing.markdown(headings, rows))
    print()
    print(timing.disturbance(records))


if __name__ == "__main__":
    main()
