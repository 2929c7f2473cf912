"""The progress bar of a run fits into 80 columns."""

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
    """Run a program in a pseudo-terminal with a number of columns and return its output."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal)
    os.close(terminal)
    output = b""
    try:
        while part := os.read(controller, 4096):
            output += part
    except OSError:  # Linux raises EIO when the program has closed the terminal
        pass
    os.close(controller)
    assert process.wait(60) == 0, output.decode()
    return output.decode()


def test_loss_accuracy_and_validation_fit_into_80_columns(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CODE)
    last = re.split(r"[\r\n]+", _in_a_terminal(80, sys.executable, str(script)).strip())[-1]
    assert len(last) <= 80
    assert re.search(r"^epoch 12/12: 100%\|.*acc=[\d.]+ %, loss=\d\.\d{4}, val=[\d.]+ %$", last), last
