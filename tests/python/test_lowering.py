"""Lowering of models to calls of primitives, and the memory of these calls."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn import layers as m
from mnistcnn.export import lowering
from mnistcnn.export.lowering import LOWERINGS, lowered
from mnistcnn.export.program import Call
from mnistcnn.nn.layers import LAYER_KINDS

EXPORT = Path(lowering.__file__).parent


def primitives(layers: list[object], **options: tuple[int, ...]) -> list[str]:
    return [call.primitive for call in lowered(mnistcnn.Model(layers, **options)).calls]


def test_every_layer_is_supported():
    assert set(LOWERINGS) | set(lowering.ALIASES) == set(LAYER_KINDS)


def test_every_primitive_has_a_function_in_c():
    names = re.findall(r"^static inline void PREFIX_(\w+)\(", (EXPORT / "primitives.c").read_text(), re.MULTILINE)
    assert len(names) == len(set(names))
    source = (EXPORT / "lowering.py").read_text()
    assert {name for name in names if f'"{name}"' not in source} == set()


def test_batch_norm_is_folded_into_the_layer_before_it():
    assert primitives([m.Conv2d(4, 3), m.BatchNorm2d(), m.ReLU()]) == ["conv2d", "relu"]
    assert primitives([m.Conv2d(4, 3), m.Dropout(0.1), m.BatchNorm2d()]) == ["conv2d"]
    assert primitives([m.Flatten(), m.Linear(4), m.BatchNorm1d()]) == ["linear"]


def test_batch_norm_is_not_folded_if_another_layer_reads_the_convolution():
    layers = {
        "conv": m.Conv2d(4, 3),
        "norm": m.BatchNorm2d(),
        "sum": m.Node(m.Add(), inputs=("norm", "conv")),
    }
    assert primitives(layers) == ["conv2d", "copy", "affine", "add"]
    assert primitives([m.Conv2d(4, 3), m.ReLU(), m.BatchNorm2d()]) == ["conv2d", "relu", "affine"]


def test_batch_norm_is_not_folded_if_a_reshape_changed_the_channels():
    assert primitives([m.Conv2d(4, 3), m.Flatten(), m.BatchNorm1d()]) == ["conv2d", "affine"]
    assert primitives([m.Conv2d(4, 28), m.Flatten(), m.BatchNorm1d()]) == ["conv2d"]


def test_memory_is_shared():
    """A chain needs the two largest neighbouring tensors; a residual block needs its input until the sum."""
    conv = m.Conv2d(2, 3, padding=1)
    size = 28 * 28
    assert lowered(mnistcnn.Model([conv, m.ReLU(), conv, m.ReLU(), conv])).memory == 4 * size
    assert lowered(mnistcnn.Model([conv, m.Residual([conv, m.ReLU(), conv])])).memory == 6 * size


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_calls_never_overwrite_a_tensor_that_is_read_later(name: str):
    program = lowered(mnistcnn.create_model(name))
    assert all(0 <= offset < program.memory for call in program.calls for offset in call.offsets)
    for call in program.calls:
        if call.primitive in ("conv2d", "linear", "max_pool", "avg_pool"):
            (begin, end), (other, other_end) = spans(call)
            assert end <= other or other_end <= begin, call


def spans(call: Call) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return begin and end of the input and the output of a call."""
    sizes = [each for each in call.arguments if not isinstance(each, np.ndarray)]
    if call.primitive == "linear":
        ins, outs = sizes
    else:
        channels, height, width, *rest = sizes
        ins, outs = (
            channels * height * width,
            np.prod(rest[:3] if call.primitive == "conv2d" else [channels, *rest[:2]]),
        )
    begin, other = call.offsets
    return (begin, begin + int(ins)), (other, other + int(outs))


def test_unsupported_layers_are_named():
    with pytest.raises(ValueError, match=r"layer '1': dropout that is active in evaluation draws random numbers"):
        lowered(mnistcnn.Model([m.Flatten(), m.Dropout(0.5, always=True)]))
    with pytest.raises(
        ValueError, match=r"layer '0': a batch norm without running statistics .*; all layers are supported except"
    ):
        lowered(mnistcnn.Model([m.BatchNorm2d(track_running_stats=False)]))


def test_weights_that_are_not_finite_raise():
    model = mnistcnn.Model([m.Flatten(), m.Linear(2)])
    with torch.no_grad():
        model.state_dict()["1.bias"][1] = float("nan")
    with pytest.raises(ValueError, match=r"layer '1': the tensor 'bias' contains NaN"):
        lowered(model)
