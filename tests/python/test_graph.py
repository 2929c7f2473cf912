"""Flattening of nested layers into named nodes, and error messages for invalid networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mnistcnn
import mnistcnn.layers as m
from mnistcnn.nn.graph import build_rows
from reference import Twin


def names(layers: Any) -> list[str]:
    return [name for name, _, _, _ in build_rows(layers)]


def inputs(layers: Any) -> dict[str, list[str]]:
    """Return the names of the inputs of each node."""
    rows = build_rows(layers)
    node_names = ["input", *(name for name, _, _, _ in rows)]
    return {name: [node_names[each + 1] for each in before] for name, _, before, _ in rows}


# ---- names


def test_layers_of_a_list_are_numbered_as_in_sequential():
    layers = [m.Conv2d(2, 3), [m.ReLU(), m.Conv2d(2, 3)], m.Flatten()]
    assert names(layers) == ["0", "1.0", "1.1", "2"]
    torch_names = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(2, 2, 3)), torch.nn.Flatten()
    ).state_dict()
    assert list(mnistcnn.Model(layers).state_dict()) == list(torch_names)


def test_layers_of_a_mapping_are_named_by_its_keys():
    assert names({"stem": m.Conv2d(2, 3), "body": {"a": m.ReLU(), "b": [m.Tanh()]}}) == ["stem", "body.a", "body.b.0"]


def test_single_layer_is_a_network():
    assert names(m.Flatten()) == ["0"]
    assert mnistcnn.Model(m.Flatten()).output_shape == (784,)
    assert names(m.Residual(m.Tanh())) == ["0.0", "0.add"]


def test_input_of_a_chain_is_the_previous_node():
    assert inputs([m.ReLU(), [m.Tanh()], m.Flatten()]) == {"0": ["input"], "1.0": ["0"], "2": ["1.0"]}


def test_inputs_of_residual_blocks():
    plain = {"x": m.ReLU(), "block": m.Residual([m.Conv2d(1, 1), m.Tanh()])}
    assert inputs(plain)["block.add"] == ["block.1", "x"]
    with_shortcut = {"block": m.Residual({"conv": m.Conv2d(2, 1)}, shortcut=[m.Conv2d(2, 1), m.BatchNorm2d()])}
    assert inputs(with_shortcut) == {
        "block.conv": ["input"],
        "block.shortcut.0": ["input"],
        "block.shortcut.1": ["block.shortcut.0"],
        "block.add": ["block.conv", "block.shortcut.1"],
    }


def test_inputs_of_branches():
    layers = [m.ReLU(), m.Branches([m.Tanh(), [m.Sigmoid(), m.ReLU()], []])]
    assert inputs(layers) == {
        "0": ["input"],
        "1.0.0": ["0"],
        "1.1.0": ["0"],
        "1.1.1": ["1.1.0"],
        "1.concat": ["1.0.0", "1.1.1", "0"],
    }
    assert mnistcnn.Model(layers).output_shape == (3, 28, 28)
    assert names([m.Branches({"left": m.ReLU(), "right": m.Tanh()})]) == ["0.left.0", "0.right.0", "0.concat"]


def test_named_inputs_are_looked_up_in_the_innermost_block_first():
    layers = {
        "a": m.ReLU(),
        "block": {"a": m.Tanh(), "b": m.Node(m.Add(), ("a", "input")), "c": m.Node(m.Add(), ("block.a", "b"))},
        "last": m.Node(m.Add(), ("a", "block", "block.a")),
    }
    found = inputs(layers)
    assert found["block.b"] == ["block.a", "input"]
    assert found["block.c"] == ["block.a", "block.b"]
    assert found["last"] == ["a", "block.c", "block.a"]


def test_outputs_of_nested_branches():
    """Compare with the same network written with torch operators."""
    layers = {
        "stem": m.Conv2d(3, 3, padding=1),
        "block": m.Residual([m.Branches([m.Tanh(), m.Conv2d(2, 1)]), m.Conv2d(3, 1)]),
        "sum": m.Node(m.Add(), ("stem", "block", "stem")),
    }
    model = mnistcnn.Model(layers, (1, 5, 5), seed=1)
    x = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    p = dict(model.named_parameters())
    conv = torch.nn.functional.conv2d
    stem = conv(x, p["stem.weight"], p["stem.bias"], padding=1)
    both = torch.cat([stem.tanh(), conv(stem, p["block.0.1.0.weight"], p["block.0.1.0.bias"])], 1)
    block = conv(both, p["block.1.weight"], p["block.1.bias"]) + stem
    torch.testing.assert_close(model(x), stem + block + stem)
    torch.testing.assert_close(Twin(model)(x), stem + block + stem)


# ---- invalid networks: the message names the node and the cause


@pytest.mark.parametrize(
    ("layers", "error", "text"),
    [
        (
            [m.Conv2d(2, 31)],
            ValueError,
            r"node '0' \(conv2d\): .*height 31 .* 28 .*\[1, 28, 28\]",
        ),
        (
            [m.MaxPool2d(20), m.MaxPool2d(2)],
            ValueError,
            r"node '1' \(maxpool2d\): .*height 2 .* 1 .*\[1, 1, 1\]",
        ),
        ([m.Conv2d(2, 3, dilation=14)], ValueError, r"node '0' \(conv2d\): .*height 29"),
        (
            [m.Linear(10)],
            ValueError,
            r"node '0' \(linear\): .*\[1, 28, 28\].*Flatten",
        ),
        (
            [m.Flatten(), m.Conv2d(2, 3)],
            ValueError,
            r"node '1' \(conv2d\): .*\[784\]",
        ),
        ([m.Flatten(), m.MaxPool2d(2)], ValueError, r"node '1' \(maxpool2d\): .*\[784\]"),
        ([m.Flatten(), m.BatchNorm2d()], ValueError, r"node '1' \(batchnorm2d\): .*\[784\]"),
        ([m.BatchNorm1d()], ValueError, r"node '0' \(batchnorm1d\): .*\[1, 28, 28\].*BatchNorm2d"),
        (
            [m.Conv2d(3, 3, groups=2)],
            ValueError,
            r"node '0' \(conv2d\): groups=2 .* 1 .* 3 ",
        ),
        ([m.GroupNorm(2)], ValueError, r"node '0' \(groupnorm\): groups=2 .* 1 "),
        (
            [m.LayerNorm((28, 27))],
            ValueError,
            r"node '0' \(layernorm\): normalized_shape.*\[28, 27\].*\[1, 28, 28\]",
        ),
        ([m.PReLU(3)], ValueError, r"node '0' \(prelu\): count=3 .* 1"),
        (
            [m.AvgPool2d(2, padding=2)],
            ValueError,
            r"node '0' \(avgpool2d\): padding.*\[2, 2\].* half .*\[2, 2\]",
        ),
        ([m.Flatten(), m.Dropout2d(0.5)], ValueError, r"node '1' \(dropout2d\): .*\[784\]"),
        ([m.Conv2d(0, 3)], ValueError, r"node '0' \(conv2d\): out_channels.*0"),
        ([m.Conv2d(2, 3, stride=0)], ValueError, r"node '0' \(conv2d\): stride.*0"),
        ([m.Conv2d(2, 3, padding=-1)], ValueError, r"node '0' \(conv2d\): padding.*-1"),
        ([m.AdaptiveAvgPool2d(0)], ValueError, r"node '0' \(adaptive_avgpool2d\): output.*0"),
        ([m.Permute((0, 1))], ValueError, r"node '0' \(permute\): .*\[1, 28, 28\]"),
        ([m.Permute((0, 1, 1))], ValueError, r"node '0' \(permute\)"),
        ([m.Slice(1, 3, 40)], ValueError, r"node '0' \(slice\)"),
        ([m.Slice(3, 0, 1)], ValueError, r"node '0' \(slice\)"),
        ([m.Expand((3, 28))], ValueError, r"node '0' \(expand\): .*\[1, 28, 28\].*\[3, 28\]"),
        ([m.Expand((3, 28, 56))], ValueError, r"node '0' \(expand\): .*size 1"),
        ([m.Expand((0, 28, 28))], ValueError, r"node '0' \(expand\): shape.*0"),
        ([m.Amax(3)], ValueError, r"node '0' \(amax\): dimension.*3.*\[1, 28, 28\]"),
        ([m.Add()], ValueError, r"node '0' \(add\): .*inputs.* 1"),
        (
            {"a": m.Conv2d(2, 3), "b": m.Node(m.Add(), ("a", "input"))},
            ValueError,
            r"node 'b' \(add\): .*\[2, 26, 26\].*\[1, 28, 28\]",
        ),
        (
            {"a": m.MaxPool2d(2), "b": m.Node(m.Concat(), ("a", "input"))},
            ValueError,
            r"node 'b' \(concat\): .*\[1, 14, 14\].*\[1, 28, 28\]",
        ),
        (
            {"a": m.ReLU(), "b": m.Node(m.Tanh(), ("a", "input"))},
            ValueError,
            r"node 'b' \(tanh\): .*input.* 2",
        ),
        ({"b": m.Node(m.Add(), ())}, ValueError, r"node 'b' has no input"),
        (
            {"b": m.Node(m.Tanh(), ("later",)), "later": m.ReLU()},
            ValueError,
            r"node 'b': unknown input 'later'.*: input$",
        ),
        (
            [m.Residual([m.Conv2d(2, 3)])],
            ValueError,
            r"node '0.add' \(add\): .*\[2, 26, 26\].*\[1, 28, 28\]",
        ),
        ([m.Residual({"add": m.Tanh()})], ValueError, r"node '0.add' \(add\): .*same name"),
        (
            [m.Conv2d(2, 3, stride=2, padding="same")],
            ValueError,
            r"node '0' \(conv2d\): padding=\"same\".*stride 1, got stride=2",
        ),
        (
            [m.Conv2d(2, 3, padding="full")],
            ValueError,
            r"node '0' \(conv2d\): padding must be \"same\", \"valid\", an integer or a pair, got 'full'",
        ),
        (
            [m.Conv2d(2, 2.5)],
            TypeError,
            r"node '0' \(conv2d\): kernel_size must be an integer or a pair of integers \(height, width\), got 2.5",
        ),
        ([m.Pad(2.5)], TypeError, r"node '0' \(pad\): padding must be an integer or a pair"),
        ([m.Conv2d(2, (3, 3, 3))], TypeError, r"node '0' \(conv2d\): kernel_size must be"),
        ([m.Linear("ten")], ValueError, r"linear: out_features.*'ten'"),
        ([m.GELU("fast")], ValueError, r"node '0' \(gelu\): approximate must be"),
        ([m.Conv2d(2**31, 3)], ValueError, r"node '0' \(conv2d\): .* too large"),
        ([], ValueError, "a network needs at least one layer"),
        ({"a.b": m.ReLU()}, ValueError, "name of a layer must be .* without dots, got 'a.b'"),
        ({"": m.ReLU()}, ValueError, "name of a layer must be a non-empty string .* got ''"),
        ({3: m.ReLU()}, ValueError, "name of a layer must be a non-empty string .* got 3"),
        (
            [torch.nn.ReLU()],
            TypeError,
            r"ReLU\(\) at '0' is not a layer; use .*mnistcnn.layers.ReLU\(\)",
        ),
        ([m.ReLU], TypeError, r"at '0' is not a layer; .*add \(\)"),
        (["relu"], TypeError, r"'relu' at '0' is not a layer"),
        (None, TypeError, r"None in the list of layers is not a layer"),
    ],
)
def test_error_for_invalid_network(layers: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        mnistcnn.Model(layers)


LARGE = 2**31 - 1
TOO_LARGE: dict[str, tuple[Any, tuple[int, int, int], str]] = {
    "input": ([m.MaxPool2d(LARGE)], (1, LARGE, LARGE), r"input_shape \[1, 2147483647, 2147483647\] is too large"),
    "channels": ([m.AdaptiveAvgPool2d(1)], (LARGE, LARGE, LARGE), "input_shape .* is too large"),
    "padding": ([m.Conv2d(1, 1, padding=LARGE)], (1, 4, 4), r"node '0' \(conv2d\): a tensor .* is too large"),
    "strides": ([m.MaxPool2d(1, LARGE)] * 3, (1, 4, 4), "node '1': the receptive field or the product of the strides"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_error_for_sizes_that_would_overflow(case: str):
    layers, shape, text = TOO_LARGE[case]
    with pytest.raises(ValueError, match=text):
        mnistcnn.Model(layers, shape)


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28, 1), (0, 28, 28), (1, -1, 28), (1, 2.5, 28), "abc", 28])
def test_error_for_invalid_input_shape(shape: Any):
    with pytest.raises(ValueError, match=r"input_shape must be \(channels, height, width\)"):
        mnistcnn.Model([m.Flatten()], shape)


def test_positional_arguments_as_in_torch():
    assert m.MaxPool2d(2, 2).fields() == m.MaxPool2d(2).fields()
    assert m.AvgPool2d(3, 1, 1, True, False) == m.AvgPool2d(
        3, stride=1, padding=1, ceil_mode=True, count_include_pad=False
    )
    assert m.ReLU(True) == m.ReLU(inplace=True) == m.ReLU()
    assert m.LeakyReLU(0.2, True) == m.LeakyReLU(0.2)
    assert m.Dropout(0.1, True) == m.Dropout(0.1)
    assert m.LogSoftmax(1) == m.LogSoftmax(dim=1) == m.LogSoftmax()
    assert m.Flatten(1) == m.Flatten(start_dim=1, end_dim=-1)
    with pytest.raises(ValueError, match=r"dim must be 1.* got 0"):
        m.Softmax(dim=0)
    with pytest.raises(ValueError, match="start_dim must be 1"):
        m.Flatten(0)
