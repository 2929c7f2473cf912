"""Every layer of the core exists in Python, in the reference and in the aten engine, with the same fields."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.nn import layers as layer_module
from mnistcnn.nn.graph import build_rows
from mnistcnn.nn.layers import LAYER_KINDS
from reference import MAKERS, Twin

KINDS = core.layer_kinds()

# For layers that require an argument or another input than an image of shape [4, 6, 6]: a network with the layer.
EXAMPLES: dict[str, Any] = {
    "conv2d": mnistcnn.layers.Conv2d(3, 2),
    "linear": [mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(3)],
    "batchnorm1d": [mnistcnn.layers.Flatten(), mnistcnn.layers.BatchNorm1d()],
    "groupnorm": mnistcnn.layers.GroupNorm(2),
    "layernorm": mnistcnn.layers.LayerNorm((6, 6)),
    "maxpool2d": mnistcnn.layers.MaxPool2d(2),
    "avgpool2d": mnistcnn.layers.AvgPool2d(2),
    "adaptive_avgpool2d": mnistcnn.layers.AdaptiveAvgPool2d(2),
    "add": {"a": mnistcnn.layers.Tanh(), "b": mnistcnn.layers.Node(mnistcnn.layers.Add(), ("a", "input"))},
    "multiply": {"a": mnistcnn.layers.Tanh(), "b": mnistcnn.layers.Node(mnistcnn.layers.Multiply(), ("a", "input"))},
    "reshape": mnistcnn.layers.Reshape((2, 12, 6)),
    "expand": [mnistcnn.layers.AdaptiveAvgPool2d((1, 6)), mnistcnn.layers.Expand((4, 5, 6))],
    "amax": mnistcnn.layers.Amax(1),
    "pad": mnistcnn.layers.Pad((1, 2, 3, 0)),
    "concat": {"a": mnistcnn.layers.Tanh(), "b": mnistcnn.layers.Node(mnistcnn.layers.Concat(), ("a", "input"))},
    "permute": mnistcnn.layers.Permute((2, 0, 1)),
    "slice": mnistcnn.layers.Slice(1, 1, 5, 2),
}

every_kind = pytest.mark.parametrize("op", KINDS)


def example(op: str) -> Any:
    return EXAMPLES[op] if op in EXAMPLES else LAYER_KINDS[op]()


def test_all_tables_contain_the_same_layers():
    assert set(LAYER_KINDS) == set(MAKERS) == set(KINDS)
    classes = {
        value
        for value in vars(layer_module).values()
        if isinstance(value, type) and issubclass(value, layer_module.Layer) and "op" in vars(value)
    }
    assert classes == set(LAYER_KINDS.values())


@every_kind
def test_layer_is_public(op: str):
    kind = LAYER_KINDS[op]
    assert kind.op == op
    assert getattr(mnistcnn.layers, kind.__name__) is kind
    assert kind.__name__ in mnistcnn.layers.__all__
    assert kind.__doc__


@every_kind
def test_field_names_are_those_of_the_core(op: str):
    rows = [fields for _, found, _, fields in build_rows(example(op)) if found == op]
    assert list(rows[0]) == list(KINDS[op])


@every_kind
def test_defaults_are_those_of_the_core(op: str):
    """Arguments that are optional in Python have the same defaults in C++."""
    fields = next(fields for _, found, _, fields in build_rows(example(op)) if found == op)
    required = {
        *("out_channels", "kernel", "out_features", "normalized_shape", "output", "order"),
        *("dimension", "start", "stop", "step", "shape", "padding"),
        *(("groups",) if op == "groupnorm" else ()),
        *(("stride",) if op in ("maxpool2d", "avgpool2d") else ()),
    }
    found = {name: value for name, value in fields.items() if name not in required}
    assert found == {name: KINDS[op][name] for name in found}


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_outputs_in_aten_equal_torch(op: str, training: bool):
    """Dropout is checked by the fraction of kept elements, all other layers by value."""
    model = mnistcnn.Model(example(op), (4, 6, 6), seed=1)
    model.engine = "aten"
    twin = copy.deepcopy(Twin(model)).double()
    images = torch.randn(5, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    outputs = model.train(training)(images)
    assert outputs.shape[1:] == model.output_shape
    if op in ("dropout", "dropout2d") and training:
        kept = outputs != 0
        torch.testing.assert_close(outputs[kept], 2 * images[kept])
        assert 0.2 < kept.float().mean() < 0.8
    else:
        torch.testing.assert_close(outputs.double(), twin.train(training)(images.double()), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # from PyTorch
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, (2, 3), (4, 1)])
@pytest.mark.parametrize("dilation", [1, 2, (3, 1)])
def test_same_padding_equals_torch(kernel: Any, dilation: Any):
    model = mnistcnn.Model([mnistcnn.layers.Conv2d(3, kernel, padding="same", dilation=dilation)], (2, 9, 11))
    twin = torch.nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation)
    model.load_state_dict({f"0.{name}": value for name, value in twin.state_dict().items()})
    images = torch.randn(2, 2, 9, 11, generator=torch.Generator().manual_seed(1))
    assert model.output_shape == (3, 9, 11)
    torch.testing.assert_close(model(images), twin(images))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_of_instance_norm_equal_torch(momentum: float | None):
    """Unlike batch norm it counts no batches, and momentum=None disables updates of the statistics."""
    model = mnistcnn.Model([mnistcnn.layers.InstanceNorm2d(momentum=momentum, track_running_stats=True)], (2, 5, 5))
    model.engine = "aten"
    twin = Twin(model)
    images = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    for network in (model, twin):
        network(images)
        network(images)
    for name, buffer in twin.named_buffers():
        torch.testing.assert_close(model.get_buffer(name), buffer)


def test_backward_with_several_tracked_norms():
    """Running statistics in the same memory are separate tensors for autograd."""
    tracked = mnistcnn.layers.InstanceNorm2d(track_running_stats=True)
    model = mnistcnn.Model([mnistcnn.layers.BatchNorm2d(), tracked, mnistcnn.layers.BatchNorm2d()], (2, 5, 5))
    model.engine = "aten"
    images = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    for network in (model, Twin(model)):
        network(images).square().sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
