"""``forward`` methods that return several tensors: all of them in the same structure, or one of them."""

from __future__ import annotations

import copy
import pickle
from collections import namedtuple
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.convert.conversion import latest_conversion
from reference import distance

Heads = namedtuple("Heads", "logits features")

FORMS: dict[str, Any] = {
    "tuple": lambda logits, features, maps: (logits, features),
    "twice the same": lambda logits, features, maps: (logits, F.softmax(logits, dim=1), logits),
    "a map": lambda logits, features, maps: (maps, logits),
    "list in list": lambda logits, features, maps: [logits, [features, None]],
    "dictionary": lambda logits, features, maps: {"logits": logits, "maps": maps},
    "named": lambda logits, features, maps: Heads(logits, features),
    "one": lambda logits, features, maps: (logits,),
}


class TwoHeads(nn.Module):
    """Features and a classifier on them."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.conv = nn.Conv2d(1, 4, 5, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.embed = nn.Linear(576, 7)
        self.classify = nn.Linear(7, 10)

    def forward(self, x: torch.Tensor) -> Any:
        maps = F.relu(self.norm(self.conv(x)))
        features = self.embed(maps.flatten(1))
        return FORMS[self.form](self.classify(features), features, maps)


class AuxiliaryHead(TwoHeads):
    """A second output in training only."""

    def forward(self, x: torch.Tensor) -> Any:
        logits, features = super().forward(x)
        return (logits, features) if self.training else logits


def images(count: int = 6) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(3))


def tensors(returned: Any) -> list[torch.Tensor]:
    if isinstance(returned, torch.Tensor):
        return [returned]
    parts = returned.values() if isinstance(returned, dict) else returned
    return [tensor for part in parts if part is not None for tensor in tensors(part)]


def weighted(returned: Any) -> torch.Tensor:
    """Return a loss to which each output contributes differently."""
    terms = [(place + 1) * (each * each.detach().cos()).mean() for place, each in enumerate(tensors(returned))]
    return torch.stack(terms).sum()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_all_outputs_are_returned(form: str, training: bool):
    """Type, keys, shapes, values and gradients match PyTorch in float64, on lanes."""
    torch.manual_seed(1)
    module = TwoHeads(form)
    reference = copy.deepcopy(module).double().train(training)
    model = mnistcnn.accelerate(module).train(training)
    assert core.Engine(latest_conversion(model).model._network, "lanes", 1)
    expected, found = reference(images().double()), model(images())
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
    for actual, desired in zip(tensors(found), tensors(expected), strict=True):
        assert actual.shape == desired.shape
        assert distance(actual, desired) < 1e-5
    weighted(found).backward()
    weighted(expected).backward()
    for actual, desired in zip(model.parameters(), reference.parameters(), strict=True):
        if desired.norm() > 0 and desired.grad.norm() > 1e-6:
            assert distance(actual.grad, desired.grad) < 1e-4


def test_copies_return_the_same_outputs():
    model = mnistcnn.accelerate(TwoHeads("dictionary")).eval()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for actual, desired in zip(tensors(copied(images())), tensors(model(images())), strict=True):
            torch.testing.assert_close(actual, desired)


@pytest.mark.parametrize(("form", "output"), [("tuple", 1), ("tuple", -1), ("dictionary", "maps"), ("named", 0)])
def test_a_single_output(form: str, output: Any):
    module = TwoHeads(form).eval()
    model = mnistcnn.from_torch(module, output=output)
    torch.testing.assert_close(model(images()), module(images())[output])


def test_a_single_output_can_be_trained_and_saved(tmp_path: Any):
    module = TwoHeads("tuple")
    model = mnistcnn.from_torch(module, output=0)
    digits = mnistcnn.load("digits")[0][:128]
    before = module.conv.weight.detach().clone()
    mnistcnn.train(model, digits, epochs=1, progress=False)
    assert not torch.equal(module.conv.weight, before)
    loaded = mnistcnn.load_model(model.save(tmp_path / "model.safetensors")).eval()
    torch.testing.assert_close(loaded(images()), module.eval()(images())[0])


def test_an_output_in_training_only_can_be_excluded():
    module = AuxiliaryHead("tuple")
    with pytest.raises(mnistcnn.ConversionError, match=r"a tuple of 2 in training and one tensor in evaluation.*=0\)"):
        mnistcnn.from_torch(module)
    model = mnistcnn.accelerate(module, output=0)
    assert model.train()(images()).shape == model.eval()(images()).shape == (6, 10)


def test_a_hook_on_a_layer_does_not_change_the_outputs():
    """PyTorch then computes the call, and the selected output is returned as well."""
    one = mnistcnn.accelerate(TwoHeads("tuple"), output=1).eval()
    all_of_them = mnistcnn.accelerate(TwoHeads("tuple")).eval()
    expected = one(images())
    one.conv.register_forward_hook(lambda *_: None)
    all_of_them.conv.register_forward_hook(lambda *_: None)
    with pytest.warns(mnistcnn.EngineWarning, match="hooks"):
        torch.testing.assert_close(one(images()), expected)
    with pytest.warns(mnistcnn.EngineWarning, match="hooks"):
        assert len(all_of_them(images())) == 2


@pytest.mark.parametrize("what", ["train", "test", "save", "onnx"])
def test_an_output_must_be_selected(what: str, tmp_path: Any):
    model, digits = mnistcnn.accelerate(TwoHeads("tuple")), mnistcnn.load("digits")[0][:32]
    calls: dict[str, Any] = {
        "train": lambda: mnistcnn.train(model, digits, epochs=1, progress=False),
        "test": lambda: mnistcnn.test(TwoHeads("tuple"), digits),
        "save": lambda: mnistcnn.from_torch(model).save(tmp_path / "model.safetensors"),
        "onnx": lambda: mnistcnn.export_onnx(model, tmp_path / "model.onnx"),
    }
    with pytest.raises(ValueError, match=r"returns 2 tensors, \[N, 10\], \[N, 7\].*from_torch\(net, output=0\)"):
        calls[what]()


def test_outputs_that_are_not_supported_raise():
    FORMS["text"] = lambda logits, features, maps: (logits, "digits")
    FORMS["nothing"] = lambda logits, features, maps: None
    FORMS["made outside"] = lambda logits, features, maps: (logits, torch.zeros(len(logits), 2))
    try:
        with pytest.raises(mnistcnn.ConversionError, match="returns str, not a tensor"):
            mnistcnn.from_torch(TwoHeads("text"))
        with pytest.raises(mnistcnn.ConversionError, match="returns no tensor"):
            mnistcnn.from_torch(TwoHeads("nothing"))
        with pytest.raises(mnistcnn.ConversionError, match=r"not computed from its input.*from_torch\(net, output=0\)"):
            mnistcnn.from_torch(TwoHeads("made outside"))
        with pytest.raises(mnistcnn.ConversionError, match="output=2, but `forward` returns a tuple of 2"):
            mnistcnn.from_torch(TwoHeads("tuple"), output=2)
        with pytest.raises(mnistcnn.ConversionError, match=r"output='x', but .* a dictionary of 'logits', 'maps'"):
            mnistcnn.accelerate(TwoHeads("dictionary"), output="x")
    finally:
        for name in ("text", "nothing", "made outside"):
            del FORMS[name]


class Sampled(nn.Module):
    """Variational encoder: the first output is random, the others are not."""

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.mean, self.width, self.named = nn.Linear(784, 4), nn.Linear(784, 4), named

    def forward(self, x: torch.Tensor) -> Any:
        mean, width = self.mean(x.flatten(1)), self.width(x.flatten(1))
        drawn = mean + width * torch.randn_like(mean)
        return {"drawn": drawn, "mean": mean} if self.named else (drawn, mean, width)


@pytest.mark.parametrize(("named", "key"), [(True, "mean"), (False, 1)])
def test_a_supported_output_is_suggested(named: bool, key: Any):
    module = Sampled(named=named)
    with pytest.raises(mnistcnn.ConversionError, match=rf"randn_like; .* another output only: .*output={key!r}\)"):
        mnistcnn.from_torch(module)
    images = torch.randn(3, 1, 28, 28)
    with pytest.warns(mnistcnn.EngineWarning, match="it draws random numbers"):
        model = mnistcnn.from_torch(module, output=key)
    torch.testing.assert_close(model(images), module(images)[key])
