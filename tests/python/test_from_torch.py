"""`from_torch` converts networks in many coding styles, with equal outputs and gradients, or raises an error."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from messages import own_message
from mnistcnn._internal.native import core
from mnistcnn.convert.conversion import latest_conversion
from mnistcnn.convert.from_torch import as_model
from networks import INPUT_SHAPES, NETWORKS
from reference import distance, length

every_network = pytest.mark.parametrize("name", NETWORKS)

pytestmark = [
    pytest.mark.usefixtures("torch_randomness_restored"),
    pytest.mark.filterwarnings("ignore:the engine computes only the outputs of"),
]


def shape_of(name: str) -> tuple[int, ...]:
    return INPUT_SHAPES.get(name, (1, 28, 28))


def images_for(name: str, count: int = 4) -> torch.Tensor:
    return torch.randn(count, *shape_of(name), generator=torch.Generator().manual_seed(1))


def images_in_forward_shape(module: nn.Module, model: Any, images: torch.Tensor) -> torch.Tensor:
    conversion = latest_conversion(module)
    return images.reshape(len(images), *conversion.graph.image_shape)


def without_dropout(module: nn.Module) -> nn.Module:
    for each in module.modules():
        if isinstance(each, nn.Dropout | nn.Dropout2d):
            each.p = 0.0
    return module


def test_there_are_enough_networks():
    assert len(NETWORKS) >= 100


@every_network
@pytest.mark.filterwarnings("ignore:Implicit dimension choice:UserWarning")
@pytest.mark.filterwarnings("ignore:dropout2d:UserWarning")
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_outputs_and_gradients_match_the_module(name: str, monkeypatch: pytest.MonkeyPatch):
    """Compare outputs and gradients in both modes, on lanes, with the module itself in float64."""
    monkeypatch.setattr(F, "dropout", lambda x, *_, **__: x)
    module = without_dropout(NETWORKS[name]())
    model = mnistcnn.from_torch(module, shape_of(name))
    assert core.lanes_unsupported_reason(model._network) is None
    exact = copy.deepcopy(module).double()
    images = images_for(name)
    for training in (True, False):
        actual, desired = images.clone().requires_grad_(), images.double().requires_grad_()
        results = []
        for network, leaf in ((model.train(training), actual), (exact.train(training), desired)):
            given = leaf if network is model else images_in_forward_shape(module, model, leaf)
            outputs = network(given)
            assert outputs.shape == (4, 10)
            module.zero_grad()
            exact.zero_grad()
            (outputs * torch.linspace(-1, 2, 40, dtype=outputs.dtype).view(4, 10)).sum().backward()
            trained = module if network is model else exact  # the model has the module's parameters
            results.append((outputs, leaf.grad, [parameter.grad for parameter in trained.parameters()]))
        _check_close(*results, f"{name}, {'training' if training else 'evaluation'}")
    for (key, actual), desired in zip(module.state_dict().items(), exact.state_dict().values(), strict=True):
        torch.testing.assert_close(actual.double(), desired.double(), rtol=1e-4, atol=1e-5, msg=f"{name}: {key}")


def _check_close(actual: Any, desired: Any, where: str) -> None:
    assert distance(actual[0], desired[0]) <= 1e-5 * length(desired[0]) + 1e-7, where
    gradients = [(actual[1], desired[1]), *zip(actual[2], desired[2], strict=True)]
    longest = max(length(each) for _, each in gradients if each is not None)
    for computed, wanted in gradients:
        assert (computed is None) == (wanted is None), where
        if computed is not None:
            assert distance(computed, wanted) <= 2e-4 * length(wanted) + 1e-5 * longest, where


@every_network
def test_the_model_holds_the_tensors_of_the_module(name: str):
    module = NETWORKS[name]()
    values = {key: None if nn.parameter.is_lazy(each) else each.clone() for key, each in module.state_dict().items()}
    model = mnistcnn.from_torch(module, shape_of(name))
    assert type(model) is mnistcnn.Model
    for key, value in module.state_dict().items():
        assert values[key] is None or torch.equal(value, values[key])
    own = {id(each) for each in (*module.parameters(), *module.buffers())}
    assert {id(each) for each in (*model.parameters(), *model.buffers())} <= own
    memory = {each.data_ptr() for each in (*module.parameters(), *module.buffers())}
    assert {each.data_ptr() for tensors in model.tensors() for each in tensors} <= memory
    named = dict(module.named_parameters())
    assert all(each is named[key] for key, each in model.named_parameters() if key in named)


# ---- a conversion does not change the module


def test_a_conversion_keeps_random_state_modes_and_statistics():
    module = NETWORKS["Norms"]()
    module.batch.eval()
    module.train()
    module.flat.eval()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    modes = [each.training for each in module.modules()]
    before = torch.get_rng_state()
    mnistcnn.from_torch(module)
    assert torch.equal(torch.get_rng_state(), before)
    assert [each.training for each in module.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]):
    mnistcnn.from_torch(NETWORKS["Printing"]())
    assert capsys.readouterr().out == ""


def test_training_the_model_trains_the_module():
    module = NETWORKS["Perceptron"]()
    model = mnistcnn.from_torch(module)
    images = images_for("Perceptron")
    with torch.no_grad():
        module.l1.weight.mul_(2)
        torch.testing.assert_close(model(images), module(images))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    F.cross_entropy(model(images), torch.tensor([1, 2, 3, 4])).backward()
    optimizer.step()
    torch.testing.assert_close(model(images), module(images))


def test_a_conversion_is_cached_until_the_module_changes():
    module = NETWORKS["Official"]()
    model = mnistcnn.from_torch(module)
    assert mnistcnn.from_torch(module) is model
    assert as_model(module) is model
    assert as_model(model) is model
    module.dropout1.p = 0.1
    changed = mnistcnn.from_torch(module)
    assert changed is not model
    assert "dropout1: dropout(probability=0.1)" in repr(changed)
    module.fc2 = nn.Linear(16, 5)
    assert mnistcnn.from_torch(module).output_shape == (5,)
    copied = copy.deepcopy(module)
    assert mnistcnn.from_torch(copied) is not mnistcnn.from_torch(module)
    assert "_mnistcnn" not in str(module.state_dict())


def test_dropout_by_function():
    """Functional dropout follows the mode if the forward passes it; by default it is active in evaluation too."""

    class Net(nn.Module):
        def __init__(self, always: bool) -> None:
            super().__init__()
            self.always = always

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(x, 0.5) if self.always else F.dropout(x, 0.5, training=self.training)

    images = torch.ones(4, 1, 28, 28)
    for always in (True, False):
        model = mnistcnn.from_torch(Net(always))
        share = (model(images) != 0).float().mean().item()
        assert 0.45 < share < 0.55
        share = (model.eval()(images) != 0).float().mean().item()
        assert 0.45 < share < 0.55 if always else share == 1.0
        torch.manual_seed(5)
        first = model(images)
        torch.manual_seed(5)
        assert torch.equal(model(images), first)


def test_other_inputs():
    """An accelerated module takes images in the shape of its forward, or as [N, C, H, W]."""
    images = images_for("x")
    for name, shape in (("TakesFlatImages", (784,)), ("AddsChannel", (28, 28))):
        module = mnistcnn.accelerate(NETWORKS[name]()).eval()
        wanted = module.forward(images.reshape(4, *shape))
        torch.testing.assert_close(module(images.reshape(4, *shape)), wanted)
        torch.testing.assert_close(module(images), wanted)
        torch.testing.assert_close(mnistcnn.from_torch(module)(images), wanted)


@pytest.mark.parametrize("count", [1, 2, 17, 33])
def test_any_batch(count: int):
    module = NETWORKS["LeNet"]()
    images = images_for("LeNet", count)
    torch.testing.assert_close(mnistcnn.from_torch(module)(images), module(images))


def test_a_saved_model_loads_without_the_class(tmp_path: Any):
    module = NETWORKS["ResNet"]()
    model = mnistcnn.from_torch(module)
    model(images_for("ResNet"))  # updates the running statistics
    loaded = mnistcnn.load_model(model.save(tmp_path / "resnet.safetensors"))
    assert type(loaded) is mnistcnn.Model
    torch.testing.assert_close(loaded.eval()(images_for("x")), model.eval()(images_for("x")))
    assert set(loaded.state_dict()) == set(module.state_dict())


# ---- unsupported operations


class _Around(nn.Module):
    """A forward around one tensor function."""

    def __init__(self, function: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.function, self.fc = function, nn.Linear(784, 10)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.function(self, x).reshape(len(x), -1))


def _transposed(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.conv(net.back(x))


def _branch(net: Any, x: torch.Tensor) -> torch.Tensor:
    return x * 2 if x.mean() > 0 else x


def _mode(net: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x) if net.training else x


def _aliased(net: Any, x: torch.Tensor) -> torch.Tensor:
    y = torch.tanh(x)
    y.view(-1).mul_(2)
    return y


def _hooked() -> nn.Module:
    layer = nn.Conv2d(1, 1, 1)
    layer.register_forward_hook(lambda *_: None)
    return layer


UNSUPPORTED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "lstm": (lambda net, x: net.rnn(x.squeeze(1))[0], {"rnn": lambda: nn.LSTM(28, 28, batch_first=True)},
             r"test_from_torch.py:\d+: .*mnistcnn does not support the layer LSTM; .*recurrent"),
    "gru": (lambda net, x: net.rnn(x.squeeze(1))[0], {"rnn": lambda: nn.GRU(28, 28, batch_first=True)}, "GRU"),
    "attention": (lambda net, x: net.a(x[:, 0], x[:, 0], x[:, 0])[0],
                  {"a": lambda: nn.MultiheadAttention(28, 4, batch_first=True)}, "MultiheadAttention.*; train tran"),
    "grid_sample": (lambda net, x: F.grid_sample(x, F.affine_grid(torch.eye(2, 3).repeat(len(x), 1, 1), x.shape,
                                                                   align_corners=True), align_corners=True),
                    {}, "grid_sample.*spatial transformers"),
    "interpolate": (lambda net, x: F.interpolate(x, (28, 28)), {}, "interpolate.*; resize the images beforehand"),
    "upsample": (lambda net, x: net.up(x)[:, :, :28, :28], {"up": lambda: nn.Upsample(scale_factor=2)}, "Upsample"),
    "batch_norm": (lambda net, x: F.batch_norm(x, None, None, training=True), {}, r"batch_norm; use a module"),
    "alpha_dropout": (lambda net, x: net.d(x), {"d": lambda: nn.AlphaDropout()}, "AlphaDropout; use Dropout"),
    "softsign": (lambda net, x: F.softsign(x), {}, "the function softsign; use SiLU"),
    "transposed": (lambda net, x: net.t(x), {"t": lambda: nn.ConvTranspose2d(1, 1, 1)}, "ConvTranspose2d"),
    "matmul": (lambda net, x: x @ x, {}, r"matmul.*nn.Linear"),
    "numbers": (_branch, {}, r"^test_from_torch.py:\d+: …: `forward` reads values of a tensor \(__bool__\)"),
    "item": (lambda net, x: x * x.max().item(), {}, r"reads values .*\(item\)"),
    "mode": (_mode, {}, r"different operations in training.*'tanh' \(test_from_torch.py"),
    "batch mixed": (lambda net, x: (x - x.mean(0)), {}, "dimension 0, across the images"),
    "whole mean": (lambda net, x: x - x.mean(), {}, "over all images of the batch"),
    "softmax over batch": (lambda net, x: F.softmax(x, 0), {}, "along dimension 0"),
    "flat softmax": (lambda net, x: x.reshape(-1).tanh().view(x.shape), {}, "mixes the images of a batch"),
    "parameter": (lambda net, x: x * net.fc.bias[0], {}, "parameter 'fc.bias' directly"),
    "trained scale": (lambda net, x: net.fc.bias.mean() * x, {}, r"'fc.bias' directly; .*x \* parameter"),
    "weight norm": (lambda net, x: net.c(x), {"c": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 1))},
                    r"weight is parametrized; .*remove_parametrizations"),
    "spectral norm": (lambda net, x: net.c(x), {"c": lambda: nn.utils.spectral_norm(nn.Conv2d(1, 1, 1))},
                      "forward hook"),
    "hook": (lambda net, x: net.c(x), {"c": _hooked}, "forward hook"),
    "alias": (_aliased, {}, "changed in place through another view"),
    "double": (lambda net, x: x.double().tanh().float(), {}, "another dtype than torch.float32"),
    "index": (lambda net, x: x[:, :, torch.randperm(28)], {}, "a list or a tensor"),
    "constant": (lambda net, x: x * torch.ones(28), {}, r"a constant or random tensor \[28\]"),
    "logarithm": (lambda net, x: torch.log(x), {}, "function log: .*after a softmax only"),
    "cube": (lambda net, x: x**3, {}, "the power 3.0|the power 3"),
    "indices": (lambda net, x: F.max_pool2d(x, 1, return_indices=True)[0], {}, "indices is not supported"),
    "random": (lambda net, x: x + torch.rand(()).item(), {}, "does not compute what|different operations"),
    "numpy": (lambda net, x: torch.from_numpy(x.numpy()), {}, r"reads values .*\(numpy\)"),
    "permuted batch": (lambda net, x: x.permute(1, 0, 2, 3).tanh().permute(1, 0, 2, 3), {},
                       "moves the first dimension"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_the_error_names_the_unsupported_operation(case: str):
    function, layers, message = UNSUPPORTED[case]
    module = _Around(function, **{name: make() for name, make in layers.items()})
    with pytest.raises(mnistcnn.ConversionError) as caught:
        mnistcnn.from_torch(module)
    assert re.search(message, own_message(caught.value, __file__))
    assert "\n" not in str(caught.value)


def test_the_error_names_file_and_line():
    module = _Around(_transposed, conv=nn.Conv2d(1, 1, 1), back=nn.ConvTranspose2d(1, 1, 1))
    line = _transposed.__code__.co_firstlineno + 1
    with pytest.raises(mnistcnn.ConversionError, match=rf"test_from_torch.py:{line}: return net.conv\(net.back\(x\)\)"):
        mnistcnn.from_torch(module)
    with pytest.raises(mnistcnn.ConversionError, match=r"^layer '1': mnistcnn does not support the layer Softsign"):
        mnistcnn.from_torch(nn.Sequential(nn.Flatten(), nn.Softsign(), nn.Linear(784, 10)))


def test_the_error_names_the_notebook_cell():
    """Python reports the name of a temporary file for a notebook cell."""
    space = {}
    code = compile("\n\ndef forward(net, x):\n    return x if x.sum() > 0 else -x\n", "/tmp/ipykernel_7/123.py", "exec")
    exec(code, space)
    with pytest.raises(mnistcnn.ConversionError, match=r"^cell:4: `forward` reads values"):
        mnistcnn.from_torch(_Around(space["forward"]))


class _RowsThroughLSTM(nn.Module):
    """A supported layer on the hidden state of an unsupported layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.fc = nn.LSTM(28, 16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.rnn(x.permute(1, 0, 2))
        return self.fc(hidden[-1])


class _Pairs(nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return (left - right) * scale


class _Stumbles(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {}[x.dim()]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_the_error_names_the_first_cause():
    """Not its consequences, nor the failures with other input shapes."""
    with pytest.raises(mnistcnn.ConversionError, match=r"self\.rnn\(.*the layer LSTM; .*recurrent"):
        mnistcnn.from_torch(_RowsThroughLSTM())
    with pytest.raises(mnistcnn.ConversionError, match=r"takes 2 inputs \(left, right\).*accelerate\(net.branch\)"):
        mnistcnn.accelerate(_Pairs())
    with pytest.raises(mnistcnn.ConversionError, match=r"the `forward` of _Stumbles fails on images .*KeyError: 4"):
        mnistcnn.from_torch(_Stumbles())
    scripted = torch.jit.script(nn.Linear(784, 10))
    with pytest.raises(mnistcnn.ConversionError, match="compiled by TorchScript"):
        mnistcnn.from_torch(nn.Sequential(nn.Flatten(), scripted))
    constant = _Around(lambda net, x: torch.cat([x, torch.ones(len(x), 1, 28, 28)], 1)[:, :1])
    with pytest.raises(mnistcnn.ConversionError, match=r"function cat: .*not computed from `forward`'s input"):
        mnistcnn.from_torch(constant)


def test_an_intermediate_view_without_the_batch_dimension():
    module = _Around(lambda net, x: torch.tanh(x).flatten().view(-1, 7, 112))
    model = mnistcnn.from_torch(module)
    torch.testing.assert_close(model(images_for("x")), module(images_for("x")))


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"Perceptron is a class; .*: Perceptron\(\)"):
        mnistcnn.from_torch(NETWORKS["Perceptron"])
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got str"):
        mnistcnn.from_torch("net")
    for wrong in (784, (), (1, 1, 28, 28), (0,), ("a",), None):
        with pytest.raises(ValueError, match=r"input_shape must be \(channels, height, width\).*\(features,\)"):
            mnistcnn.from_torch(NETWORKS["Perceptron"](), wrong)
    with pytest.raises(mnistcnn.ConversionError, match=re.escape("'l1.weight' is torch.float64")):
        mnistcnn.from_torch(NETWORKS["Perceptron"]().double())
    with pytest.raises(mnistcnn.ConversionError, match=r"fails on images \[N, 1, 28, 28\].*input_shape=\(1, 32, 32\)"):
        mnistcnn.from_torch(NETWORKS["LeNet32"]())
    with pytest.raises(TypeError, match=r"model must be an mnistcnn\.Model or a torch\.nn\.Module, got int"):
        as_model(3)


# ---- train, test and predict with modules


def test_train_test_and_predict_take_a_module(digits: Any):
    train_set, test_set = digits
    module = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
    before = module[3].weight.detach().clone()
    history = mnistcnn.train(module, train_set[:1000], epochs=2, batch_size=50, progress=False)
    assert len(history) == 2
    assert not torch.equal(module[3].weight, before)
    model = mnistcnn.from_torch(module)
    assert model.history is history
    result = mnistcnn.test(module, test_set[:200], progress=False)
    pixels = model.prepare(test_set[:200].images)
    wanted = module.eval()(pixels).argmax(1).numpy()
    assert (result.predictions == wanted).all()
    assert (mnistcnn.predict(module, test_set[:200]).argmax(1) == wanted).all()
    assert result.accuracy > 0.3


def test_native_runs_raise_for_a_layer_in_another_mode():
    module = NETWORKS["Norms"]()
    module.batch.eval()
    data = mnistcnn.load("digits")[1][:16]
    with pytest.raises(ValueError, match="'batch' is in another mode"):
        mnistcnn.train(module, data, epochs=1, progress=False)
    module.train()
    mnistcnn.train(module, data, epochs=1, progress=False)
    assert module.training
    module.eval()
    mnistcnn.test(module, data, progress=False)
    assert not module.training


def test_model_is_returned_and_cannot_be_a_part():
    model = mnistcnn.create_model("budget_model3")
    normalization = mnistcnn.Normalization(0.5, 0.25)
    assert mnistcnn.from_torch(model, normalization=normalization) is model
    assert model.normalization == normalization
    with pytest.raises(mnistcnn.ConversionError, match=r"'0' of Sequential is an mnistcnn.Model.*model.to_torch\(\)"):
        mnistcnn.from_torch(nn.Sequential(model, nn.Linear(10, 3)))
    assert mnistcnn.from_torch(nn.Sequential(model.to_torch(), nn.Linear(10, 3))).num_classes == 3
