"""The published networks equal their authors' networks, as recorded layer by layer in the golden table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.nn.zoo import Citation, published_network
from reference import GOLDEN, golden_module

# op -> {field of the golden table: field of the core}
FIELDS = {
    "conv2d": {"out": "out_channels", "kernel": "kernel", "stride": "stride", "padding": "padding", "bias": "bias"},
    "linear": {"out": "out_features", "bias": "bias"},
    "maxpool2d": {"kernel": "kernel", "stride": "stride"},
    "avgpool2d": {"kernel": "kernel", "stride": "stride"},
    "adaptive_avgpool2d": {"output": "output"},
    "dropout": {"p": "probability"},
    "leaky_relu": {"slope": "negative_slope"},
}

every_network = pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["name"])


def _widened(value: Any, like: Any) -> Any:
    """Return ``value`` repeated to the length of ``like`` if that is a tuple: 3 -> (3, 3)."""
    return (value,) * len(like) if isinstance(like, tuple) else value


def _shapes(named_tensors: Iterable[tuple[str, torch.Tensor]]) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in named_tensors]


def test_golden_table_lists_all_networks():
    assert sorted(mnistcnn.list_models()) == sorted(entry["name"] for entry in GOLDEN)
    assert len(GOLDEN) == 22


@every_network
def test_layers_equal_the_golden_table(entry: dict[str, Any]):
    nodes = mnistcnn.create_model(entry["name"])._network.nodes
    assert [node["op"] for node in nodes] == [layer["op"] for layer in entry["layers"]]
    for index, (node, layer) in enumerate(zip(nodes, entry["layers"], strict=True)):
        where = f"layer {index}, {node['name']}"
        assert list(node["inputs"]) == [index - 1], where
        assert list(node["output_shape"]) == layer["output_shape"], where
        assert node["parameters"] == layer["params"], where
        assert (node["receptive_field"] or None) == layer.get("receptive_field"), where
        if "name" in layer:
            assert node["name"] == layer["name"], where
        wanted = {ours: layer[theirs] for theirs, ours in FIELDS.get(layer["op"], {}).items()}
        if layer["op"] == "conv2d":
            wanted["groups"] = layer.get("groups", 1)
        found = {name: node["fields"][name] for name in wanted}
        assert found == {name: _widened(value, found[name]) for name, value in wanted.items()}, where


@every_network
def test_fields_outside_the_table_have_default_values(entry: dict[str, Any]):
    default_nodes = mnistcnn.Model(
        [mnistcnn.layers.Conv2d(1, 1), mnistcnn.layers.BatchNorm2d(), mnistcnn.layers.MaxPool2d(1)]
    )._network.nodes
    default_fields = {node["op"]: node["fields"] for node in default_nodes}
    for node in mnistcnn.create_model(entry["name"])._network.nodes:
        for name in ("dilation", "eps", "momentum", "affine", "track_running_stats", "ceil_mode"):
            if node["op"] in default_fields and name in node["fields"]:
                assert node["fields"][name] == default_fields[node["op"]][name], f"{node['name']}: {name}"


@every_network
def test_totals_equal_the_golden_table(entry: dict[str, Any]):
    model = mnistcnn.create_model(entry["name"])
    summary = model.summary()
    assert (summary.parameters, summary.macs, summary.buffers) == (entry["params"], entry["macs"], entry["buffers"])
    assert sum(parameter.numel() for parameter in model.parameters()) == entry["params"]
    assert sum(buffer.numel() for buffer in model.buffers()) == entry["buffers"]


@every_network
def test_names_and_shapes_equal_those_of_a_torch_module(entry: dict[str, Any]):
    module, _ = golden_module(entry)
    model = mnistcnn.create_model(entry["name"])
    assert _shapes(model.named_parameters()) == _shapes(module.named_parameters())
    assert _shapes(model.named_buffers()) == _shapes(module.named_buffers())
    assert list(model.state_dict()) == list(module.state_dict())
    model.load_state_dict(module.state_dict())
    module.load_state_dict(model.state_dict())


@every_network
def test_outputs_equal_those_of_a_torch_module(entry: dict[str, Any]):
    """The module is built from the golden table only, which also checks the meaning of each layer."""
    module, steps = golden_module(entry)
    model = mnistcnn.create_model(entry["name"])
    model.load_state_dict(module.state_dict())
    model.eval()
    module.eval()
    values = images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        for step in steps:
            values = step(values)
        torch.testing.assert_close(model(images), values, rtol=1e-5, atol=1e-5)


@every_network
def test_number_of_classes_and_channels(entry: dict[str, Any]):
    model = mnistcnn.create_model(entry["name"], num_classes=7, in_channels=3)
    assert (model.input_shape, model.num_classes) == ((3, 28, 28), 7)
    assert model.eval()(np.zeros((2, 3, 28, 28), np.uint8)).shape == (2, 7)
    first = next(iter(model.parameters()))
    assert first.shape[1] == 3
    assert model.normalization is not None
    assert len(model.normalization.mean) == 3


def test_kind_of_outputs():
    meanings = {name: mnistcnn.create_model(name).outputs for name in mnistcnn.list_models()}
    logits = {name for name, meaning in meanings.items() if meaning == "logits"}
    ours = {"compact_net", "fast_99", "fast_99_4", "record_small", "record_8k", "record_single"}
    assert logits == {"budget_model1", "budget_model2", "budget_model3", "recognition_cnn"} | ours
    assert set(meanings.values()) == {"logits", "log_probabilities"}


def test_session7_net_pools_only_a_corner_of_its_last_feature_map():
    """AvgPool2d(3) on a 5x5 feature map does not read rows and columns 3 and 4."""
    nodes = {node["name"]: node for node in mnistcnn.create_model("session7_net")._network.nodes}
    assert nodes["convblock10.0"]["output_shape"] == (10, 5, 5)
    assert nodes["gap"]["input_shapes"] == ((10, 5, 5),)
    gap = mnistcnn.Model([mnistcnn.layers.AvgPool2d(nodes["gap"]["fields"]["kernel"])], (1, 5, 5))
    images = torch.zeros(1, 1, 5, 5, requires_grad=True)
    gap(images).sum().backward()
    wanted = torch.zeros(5, 5)
    wanted[:3, :3] = 1 / 9
    torch.testing.assert_close(images.grad[0, 0], wanted)


def test_list_models():
    assert mnistcnn.list_models("session7*") == ["session7_net1", "session7_net2", "session7_net"]
    assert mnistcnn.list_models("*model8") == ["assignment7_model8"]
    assert mnistcnn.list_models("nothing*") == []


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_network_has_description_and_citation(name: str):
    network = published_network(name)
    assert network.name == name
    assert network.description.endswith(".")
    assert network.citation.project
    assert network.normalization == mnistcnn.create_model(name).normalization


def test_citation_omits_unknown_fields():
    assert str(Citation("a project", file="model.py")) == "a project; model.py"
    session7 = published_network("session7_net").citation
    assert session7.file == "model.py, class Net"
    assert str(session7).endswith("; https://github.com/ShikhaERAV2/Session7")


@pytest.mark.parametrize(
    ("name", "hint"), [("sesion7_net", "did you mean 'session7_net'"), ("zzz", "Choose from: assignment7_model1")]
)
def test_error_for_unknown_name(name: str, hint: str):
    with pytest.raises(ValueError, match="there is no model") as caught:
        mnistcnn.create_model(name)
    assert hint in str(caught.value)
    with pytest.raises(ValueError, match="there is no model"):
        published_network(name)


def test_error_of_the_core_for_unknown_name():
    with pytest.raises(ValueError, match=r"'zzz'.* assignment7_model1"):
        core.zoo_create("zzz", classes=10, channels=1)


@pytest.mark.parametrize(
    "options", [{"num_classes": 0}, {"in_channels": -1}, {"num_classes": 2.0}, {"in_channels": True}]
)
def test_error_for_invalid_sizes(options: dict[str, Any]):
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        mnistcnn.create_model("session7_net", **options)


def test_seed_determines_the_weights():
    first, again, other = (mnistcnn.create_model("budget_model1", seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_initial_weights_have_the_distribution_of_torch():
    """U(-b, b) with b = 1 / sqrt(fan_in): check the bound, and mean and deviation to five standard errors."""
    model = mnistcnn.create_model("recognition_cnn", seed=11)
    for name, fan_in in (("L2.0", 32 * 9), ("L3", 3136), ("L4", 1000)):
        bound = fan_in**-0.5
        for kind in ("weight", "bias"):
            values = model.get_parameter(f"{name}.{kind}").detach().double()
            where = f"{name}.{kind}, seed 11"
            assert values.abs().max() <= bound, where
            assert values.abs().max() > 0.9 * bound, where
            error = bound / (3 * values.numel()) ** 0.5
            assert abs(values.mean()) < 5 * error, where
            assert values.std() == pytest.approx(bound / 3**0.5, rel=5 / values.numel() ** 0.5), where
