"""Training run in a separate process, for tests that kill it. It prints the SHA-256 of the weights at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import mnistcnn
from runs import digest


def recipe() -> mnistcnn.Recipe:
    """Return a recipe with stateful parts: Adam, a schedule, augmentation and averaging. The network has dropout."""
    return mnistcnn.Recipe(
        epochs=6,
        batch_size=32,
        optimizer=mnistcnn.optim.Adam(lr=0.002),
        schedule=mnistcnn.optim.StepLR(2, 0.5),
        augment=(mnistcnn.transforms.Rotation(10, fill=1),),
        averaging=mnistcnn.optim.EMA(decay=0.9),
        seed=5,
    )


def run(folder: str | None) -> str:
    torch.set_num_threads(1)
    data = mnistcnn.load("digits")[1][:1500]
    model = mnistcnn.create_model("budget_model3", seed=1)
    options = {} if folder is None else {"checkpoint": folder, "resume": True}
    mnistcnn.train(
        model,
        data,
        recipe(),
        validation=0.1,
        callbacks=[mnistcnn.callbacks.KeepBest()],
        threads=1,
        progress=False,
        **options,
    )
    return digest(model)


def start_run(folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Start a run in another process. The next line that it prints is the digest of the model at its end."""
    command = [sys.executable, __file__, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout is not None
    process.stdout.readline()
    return process


if __name__ == "__main__":
    run(None)  # complete all imports before the run that is killed
    print("started", flush=True)
    print(run(sys.argv[1]))
