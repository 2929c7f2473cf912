"""The bar fits the usual 80 columns with everything that a run says in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

CODE = """
import numpy as np
import mnistcnn
images = np.random.default_rng(0).integers(0, 256, (512, 28, 28), dtype=np.uint8)
data = mnistcnn.ImageSet.from_arrays(images, np.arange(512) % 10)
mnistcnn.train(mnistcnn.create_model("budget_model1"), data, validation=0.5, epochs=12, batch_size=64)
"""


def _in_a_terminal(columns: int, *command: str) -> str:
    """What a program writes into a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    running = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 4096):
            written += part
    except OSError:  # the terminal has gone with its program
        pass
    os.close(ours)
    assert running.wait(60) == 0, written.decode()
    return written.decode()


def test_loss_accuracy_and_validation_fit_80_columns(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CODE)
    last = re.split(r"[\r\n]+", _in_a_terminal(80, sys.executable, str(script)).strip())[-1]
    assert len(last) <= 80
    assert re.search(r"^epoch 12/12: 100%\|.*acc=[\d.]+ %, loss=\d\.\d{4}, val=[\d.]+ %$", last), last
