"""Weights after training are bit-identical to recorded ones, to detect unintended changes of results.

After an intended change, record them again and note it in CHANGELOG.md:
``python tests/python/test_recorded_bits.py > tests/python/golden/weights.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

import mnistcnn
from isolated import call_with_instruction_set
from runs import digest

GOLDEN = Path(__file__).parent / "golden" / "weights.json"


def trained(model: mnistcnn.Model | str, images: int = 700, **options: object) -> str:
    if isinstance(model, str):
        model = mnistcnn.create_model(model, seed=3)
    defaults = {"epochs": 2, "batch_size": 64, "seed": 3, "engine": "lanes", "progress": False}
    mnistcnn.train(model, mnistcnn.load("digits")[0][:images], **{**defaults, **options})
    return digest(model)


def resumed() -> str:
    """Train for two epochs with checkpoints, then continue to the fourth in a new model."""
    with tempfile.TemporaryDirectory() as folder:
        for epochs in (2, 4):
            model = mnistcnn.create_model("budget_model1", seed=3)
            result = trained(
                model,
                epochs=epochs,
                checkpoint=folder,
                resume=True,
                optimizer=mnistcnn.optim.Adam(),
                averaging=mnistcnn.optim.EMA(decay=0.9),
                validation=0.2,
            )
    return result


def custom_module() -> mnistcnn.Model:
    """Return a model of a PyTorch module whose weights do not depend on PyTorch's generator."""
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.PReLU(),
        nn.BatchNorm2d(6),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.GroupNorm(2, 8),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    for number, parameter in enumerate(net.parameters()):
        count = parameter.numel()
        pattern = [((7 * i + 3 * number) % 11 - 5) / 20 for i in range(count)]
        parameter.data.copy_(parameter.data.new_tensor(pattern).view_as(parameter))
    return mnistcnn.from_torch(net)


def distilled() -> str:
    teacher = mnistcnn.create_model("budget_model1", seed=9)
    return trained("budget_model3", loss=mnistcnn.losses.Distillation(teacher, temperature=3.0))


RUNS: dict[str, Callable[[], str]] = {
    "session7_net, SGD, OneCycle": lambda: trained(
        "session7_net",
        optimizer=mnistcnn.optim.SGD(lr=0.01, momentum=0.9),
        schedule=mnistcnn.optim.OneCycleLR(max_lr=0.1),
    ),
    "session7_net, one thread": lambda: trained("session7_net", threads=1),
    "session7_net, three threads": lambda: trained("session7_net", threads=3),
    "session7_net1, Adam": lambda: trained(
        "session7_net1", images=200, optimizer=mnistcnn.optim.Adam(weight_decay=1e-4)
    ),
    "assignment7_model5, RMSprop, rotation": lambda: trained(
        "assignment7_model5",
        optimizer=mnistcnn.optim.RMSprop(lr=1e-3, momentum=0.9),
        augment=[mnistcnn.transforms.Rotation(10), mnistcnn.transforms.RandomErasing(p=0.5)],
    ),
    "assignment7_model7, NAdam, EMA": lambda: trained(
        "assignment7_model7", optimizer=mnistcnn.optim.NAdam(), averaging=mnistcnn.optim.EMA(decay=0.95)
    ),
    "budget_model1, Adagrad, SWA": lambda: trained(
        "budget_model1", optimizer=mnistcnn.optim.Adagrad(), averaging=mnistcnn.optim.SWA(start_epoch=1)
    ),
    "budget_model2, AdamW, Lookahead": lambda: trained(
        "budget_model2", optimizer=mnistcnn.optim.AdamW(clip_norm=1.0), averaging=mnistcnn.optim.Lookahead(k=3)
    ),
    "budget_model3, SGD with l1, label smoothing": lambda: trained(
        "budget_model3",
        optimizer=mnistcnn.optim.SGD(lr=0.05, nesterov=True, momentum=0.8, l1=1e-4),
        label_smoothing=0.1,
    ),
    "budget_model3, mixup": lambda: trained("budget_model3", mixing=mnistcnn.losses.Mixup(0.3)),
    "budget_model3, CutMix": lambda: trained("budget_model3", mixing=mnistcnn.losses.CutMix(1.0)),
    "budget_model3, distillation": distilled,
    "recognition_cnn, large linear layer": lambda: trained("recognition_cnn", images=130, epochs=1),
    "assignment7_model8": lambda: trained("assignment7_model8", images=200),
    "own module": lambda: trained(custom_module()),
    "resumed": resumed,
}


def all_digests() -> str:
    return json.dumps({name: run() for name, run in RUNS.items()}, indent=2)


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_weights_are_bit_identical_to_recorded_ones(isa: str) -> None:
    recorded = json.loads(GOLDEN.read_text())
    actual = json.loads(call_with_instruction_set("test_recorded_bits.all_digests()", isa))
    changed = [name for name in RUNS if actual[name] != recorded.get(name)]
    assert not changed
    assert list(recorded) == list(RUNS)


if __name__ == "__main__":
    sys.stdout.write(all_digests() + "\n")
