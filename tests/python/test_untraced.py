"""untraced.py: torch.compile goes around our engine; without it, its compiler is never loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

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
