"""Loading weights from files of other code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mnistcnn
from runs import small


def donor() -> mnistcnn.Model:
    return mnistcnn.create_model("budget_model3", seed=7)


def state() -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in donor().state_dict().items()}


def equal(model: mnistcnn.Model, wanted: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())


WRAPPED: dict[str, Any] = {
    "plain": lambda s: s,
    "checkpoint": lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": {"state": {}}},
    "lightning": lambda s: {"state_dict": {f"model.{name}": tensor for name, tensor in s.items()}, "loops": {}},
    "data parallel": lambda s: {f"module.{name}": tensor for name, tensor in s.items()},
    "compiled": lambda s: {"model": {f"module._orig_mod.{name}": tensor for name, tensor in s.items()}},
    "without counters": lambda s: {n: t for n, t in s.items() if not n.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("as_file", [True, False])
def test_by_name(kind: str, as_file: bool, tmp_path: Path):
    weights = WRAPPED[kind](state())
    if as_file:
        torch.save(weights, tmp_path / "net.pt")
        weights = tmp_path / "net.pt"
    model = small()
    pointer = model.conv1.weight.data_ptr()
    assert model.load_weights(weights) is model
    assert equal(model, state())
    assert model.conv1.weight.data_ptr() == pointer


def test_safetensors(tmp_path: Path):
    from safetensors.torch import save_file

    save_file(state(), tmp_path / "net.safetensors")
    assert equal(small().load_weights(str(tmp_path / "net.safetensors")), state())


def test_by_order():
    renamed = {f"layer{index}.x": tensor for index, tensor in enumerate(state().values()) if tensor.dim() > 0}
    model = small()
    with pytest.raises(ValueError, match=r"missing: 'conv1.weight'.*unexpected: 'layer0.x'.*by_order=True"):
        model.load_weights(renamed)
    model.load_weights(renamed, by_order=True)
    kept = {name: tensor for name, tensor in state().items() if tensor.dim() > 0}
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in kept.items())
    with pytest.raises(ValueError, match="by_order=True: got 1 tensors, but the model has"):
        model.load_weights({"a": torch.zeros(2)}, by_order=True)
    names = list(renamed)
    renamed[names[0]], renamed[names[-1]] = renamed[names[-1]], renamed[names[0]]
    with pytest.raises(ValueError, match=r"by_order=True: 'layer0.x' .*\[\d+.*'conv1.weight' has shape \[4, 1, 3, 3\]"):
        model.load_weights(renamed, by_order=True)


def test_mismatches_are_listed_and_the_model_is_unchanged():
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = state()
    weights["conv1.weight"] = torch.zeros(5, 1, 3, 3)
    weights["conv2_weight"] = weights.pop("conv2.weight")
    with pytest.raises(ValueError, match="the weights do not fit model 'budget_model3'") as caught:
        model.load_weights(weights)
    text = str(caught.value)
    assert "'conv1.weight' has shape [5, 1, 3, 3], expected [4, 1, 3, 3]" in text
    assert "missing: 'conv2.weight'; unexpected: 'conv2_weight'; 'conv2_weight' may be 'conv2.weight'" in text
    assert equal(model, before)


def test_wrong_files(tmp_path: Path):
    model = small()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        model.load_weights(tmp_path / "none.pt")
    with pytest.raises(IsADirectoryError, match="is a directory; name a file in it"):
        model.load_weights(tmp_path)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(OSError, match=r"text\.safetensors is damaged or not a safetensors file"):
        model.load_weights(tmp_path / "text.safetensors")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(OSError, match=r"whole.pt .* class torch.nn.*Linear; save model.state_dict\(\) instead$"):
        model.load_weights(tmp_path / "whole.pt")
    (tmp_path / "text.pt").write_text("import this")
    with pytest.raises(OSError, match=r"text.pt is damaged, or not a file of torch.save$"):
        model.load_weights(tmp_path / "text.pt")
    with pytest.raises(TypeError, match=r"weights must be a state dict .*, got list"):
        model.load_weights([1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the checkpoint contains no state dict, only 'epoch'"):
        model.load_weights({"epoch": 3})


def test_weights_of_a_torch_module():
    """Load the state dict of a torch.nn module into a model."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(1352, 10))
    layers = [
        mnistcnn.layers.Conv2d(2, 3),
        mnistcnn.layers.BatchNorm2d(),
        mnistcnn.layers.Flatten(),
        mnistcnn.layers.Linear(10),
    ]
    model = mnistcnn.Model(layers).load_weights(module.state_dict())
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.eval()(images), module.eval()(images))
