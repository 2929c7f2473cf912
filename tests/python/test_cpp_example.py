"""Tests of the C++ example: its accuracy, and that it is bit-identical to the same run in Python."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import mnistcnn

PROGRAM = os.environ.get("MNISTCNN_TRAIN_MNIST", "")  # the compiled example
EPOCHS, SEED = 3, 2  # the seed is the program's

needs_the_program = pytest.mark.skipif(not PROGRAM, reason="MNISTCNN_TRAIN_MNIST is not set to the compiled example")


@needs_the_program
def test_run_is_bit_identical_to_python(mnist: tuple[mnistcnn.ImageSet, mnistcnn.ImageSet], tmp_path: Path) -> None:
    folder = Path(os.environ["MNISTCNN_DATA"])
    for file in folder.iterdir():
        name = tmp_path / file.name.removesuffix(".gz")
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as source, name.open("wb") as target:
            shutil.copyfileobj(source, target)
    done = subprocess.run([PROGRAM, str(tmp_path), str(EPOCHS)], capture_output=True, text=True, check=True)
    printed = re.search(r"accuracy ([\d.]+) %, loss ([\d.e-]+)\n", done.stdout)
    assert printed is not None, done.stdout
    rows = [[int(number) for number in line.split()] for line in done.stdout.splitlines()[-10:]]

    train_set, test_set = mnist
    model = mnistcnn.create_model("session7_net", seed=SEED)
    mnistcnn.train(model, train_set, mnistcnn.recipe("session7_net"), epochs=EPOCHS, seed=SEED, progress=False)
    result = mnistcnn.test(model, test_set, progress=False)
    assert float(printed[2]) == result.loss
    assert rows == result.confusion.tolist()
    # 98.92 %. Seeds 0 to 5 give 98.1 to 98.9 %: with a constant rate, accuracy still fluctuates after three epochs.
    assert float(printed[1]) >= 98.5


@needs_the_program
def test_error_names_the_missing_file(tmp_path: Path) -> None:
    done = subprocess.run([PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "train-labels-idx1-ubyte" in done.stderr
    assert subprocess.run([PROGRAM], capture_output=True, check=False).returncode == 2
