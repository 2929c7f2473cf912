"""torch.compile leaves an untraced method alone, and who doesn't compile never waits for its import."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from mnistcnn.untraced import untraced


def test_training_and_testing_do_not_import_the_compiler() -> None:
    code = """
import sys
import numpy as np
import mnistcnn
data = mnistcnn.ImageSet.from_arrays(np.zeros((16, 28, 28), np.uint8), np.arange(16) % 10)
model = mnistcnn.create_model("budget_model1")
mnistcnn.train(model, data, epochs=1, batch_size=16, progress=False)
mnistcnn.test(model, data, progress=False)
model(data.images)
assert "torch._dynamo" not in sys.modules, "importing torch's compiler takes more than a second"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


class Counting(nn.Module):
    """Runs the body itself each time only if nobody made a graph of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    @untraced
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Twice the images."""
        self.seen.append(len(images))
        return images * 2


@pytest.mark.parametrize("inside", [False, True], ids=["itself", "as a part"])
def test_a_compiled_module_runs_it_as_it_is(inside: bool) -> None:
    counting = Counting()
    compiled = torch.compile(nn.Sequential(nn.ReLU(), counting) if inside else counting, backend="eager")
    for count in (1, 2, 3):
        images = torch.ones(count, 2)
        assert compiled(images).equal(images * 2)
    assert counting.seen == [1, 2, 3]
