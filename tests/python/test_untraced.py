"""untraced.py: torch.compile goes around our engine; without it, its compiler is never loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from mnistcnn.untraced import untraced


@pytest.mark.parametrize("work", ["", "accelerated(images).sum().backward()", "mnistcnn.train(model, data, epochs=1)"])
def test_the_compiler_is_not_loaded_where_nobody_compiles(work: str) -> None:
    script = f"""
import sys, torch, mnistcnn
data = mnistcnn.ImageSet.from_arrays(torch.zeros(32, 1, 28, 28, dtype=torch.uint8).numpy(), [0, 1] * 16)
images = torch.zeros(2, 1, 28, 28)
model = mnistcnn.create_model("budget_model3", seed=1)
accelerated = mnistcnn.accelerate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)))
{work}
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_compiled_caller_finds_it_as_it_is() -> None:
    seen = []

    @untraced
    def doubled(values: torch.Tensor, *, times: int = 2) -> torch.Tensor:
        """Its words."""
        seen.append(torch.compiler.is_compiling())
        return values * times

    @torch.compile(backend="eager")
    def caller(values: torch.Tensor) -> torch.Tensor:
        return doubled(values + 1, times=3) - 1

    for _ in range(3):
        assert caller(torch.ones(2)).tolist() == [5.0, 5.0]
    assert seen == [False] * 3
    assert (doubled.__name__, doubled.__doc__) == ("doubled", "Its words.")


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
