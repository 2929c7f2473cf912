"""Whatever the engine does not support runs in PyTorch, with one warning that states the reason."""

from __future__ import annotations

import contextlib
import copy
import io
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import mnistcnn
from ecosystem_networks import plain
from mnistcnn.convert.conversion import latest_conversion

IMAGES = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Sequential(nn.ReLU(), nn.Dropout(0.25))
        self.fc = nn.Linear(4, 10)
        self.temp = 2
        self.use_gate = False
        self._factor = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(self.norm(self.conv(x))).mean((2, 3))
        x = self.fc(x) / self.temp * self._factor
        return x.sigmoid() if self.use_gate else x


def net() -> Net:
    torch.manual_seed(1)
    return mnistcnn.accelerate(Net()).eval()


def change_the_momentum(model: nn.Module) -> None:
    model.norm.momentum = 0.5


def cumulative_momentum(model: nn.Module) -> None:
    model.norm.momentum = None


def change_an_attribute(model: nn.Module) -> None:
    model.temp = 5


def change_a_switch(model: nn.Module) -> None:
    model.use_gate = True


def change_a_private_attribute(model: nn.Module) -> None:
    model._factor = 3.0


def replace_a_layer(model: nn.Module) -> None:
    model.fc = nn.Linear(4, 5)


def add_a_layer_to_a_block(model: nn.Module) -> None:
    model.block.append(nn.Tanh())


def patch_a_layer(model: nn.Module) -> None:
    layer = model.block[0]
    layer.forward = lambda x: x * 3


def change_the_class(model: nn.Module) -> None:
    class Scaled(nn.ReLU):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3 * super().forward(x)

    model.block[0].__class__ = Scaled


def another_mode(model: nn.Module) -> None:
    model.norm.train()


CHANGES: dict[str, tuple[Callable[[nn.Module], None], str]] = {
    "setting": (change_the_momentum, "'norm.momentum' was changed"),
    "setting to None": (cumulative_momentum, "'norm.momentum' was changed"),
    "attribute of the module": (change_an_attribute, "'temp' was changed"),
    "switch of the module": (change_a_switch, "'use_gate' was changed"),
    "private attribute": (change_a_private_attribute, "'_factor' was changed"),
    "replaced layer": (replace_a_layer, "'fc' was replaced"),
    "added layer": (add_a_layer_to_a_block, "layers of 'block' were added or removed"),
    "forward of a layer": (patch_a_layer, r"'block\.0' has an overridden `forward`"),
    "class of a layer": (change_the_class, r"the class of 'block\.0' has changed"),
    "mode": (another_mode, "'norm' is in another mode"),
    "forward hook": (lambda m: m.conv.register_forward_hook(lambda *a: 2 * a[2]), "there are hooks on 'conv'"),
    "forward pre-hook": (lambda m: m.conv.register_forward_pre_hook(lambda *a: (2 * a[1][0],)), "hooks on 'conv'"),
    "backward hook": (lambda m: m.fc.register_full_backward_hook(lambda *_: None), "hooks on 'fc'"),
    "backward pre-hook": (lambda m: m.fc.register_full_backward_pre_hook(lambda *_: None), "hooks on 'fc'"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_of_the_module_takes_effect(case: str) -> None:
    """The module is converted again if it may compute something else; otherwise it runs in PyTorch."""
    change, reason = CHANGES[case]
    module = net()
    module(IMAGES)
    conversion = latest_conversion(module)
    assert conversion is not None
    assert conversion.violation() is None
    change(module)
    violation = conversion.violation()
    assert violation is not None
    assert re.search(reason, violation.reason)
    twin = copy.deepcopy(module)
    if violation.is_change:
        outputs = module(IMAGES)
    else:
        with pytest.warns(mnistcnn.EngineWarning, match=reason):
            outputs = module(IMAGES)
        with pytest.raises(ValueError, match=reason):
            mnistcnn.predict(module, IMAGES)
    torch.testing.assert_close(outputs, twin(IMAGES), rtol=1e-4, atol=1e-5)
    module(IMAGES), twin(IMAGES)  # a second warning would be an error
    for network in (module, twin):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mnistcnn.EngineWarning)
            network.train()(IMAGES)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(module.norm, name), getattr(twin.norm, name), rtol=1e-4, atol=1e-5)


def test_the_forward_of_a_class_may_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    before = model(IMAGES)
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: x)
    with pytest.warns(mnistcnn.EngineWarning, match="the `forward` of class BatchNorm2d, of 'norm', was replaced"):
        assert not model(IMAGES).allclose(before)


@pytest.mark.parametrize("part", ["function", "code"])
def test_the_forward_of_the_users_class_may_be_replaced(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another function, or by other code as with IPython's autoreload. The module is converted again."""

    class Scaled(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * Net.forward(self, x)

    def forward(self: Scaled, x: torch.Tensor) -> torch.Tensor:
        return Net.forward(self, x).tanh()

    module = mnistcnn.accelerate(Scaled()).eval()
    inner = mnistcnn.accelerate(nn.Sequential(Scaled())).eval()
    module(IMAGES), inner(IMAGES)
    if part == "function":
        monkeypatch.setattr(Scaled, "forward", forward)
    else:
        Scaled.forward.__code__ = forward.__code__
    for net in (module, inner):
        torch.testing.assert_close(net(IMAGES), net.forward(IMAGES), rtol=1e-4, atol=1e-5)  # without a warning


def test_global_hooks_are_called() -> None:
    model = net()
    seen: list[str] = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    try:
        with pytest.warns(mnistcnn.EngineWarning, match="there are hooks on all modules"):
            model(IMAGES)
    finally:
        handle.remove()
    assert {"Conv2d", "BatchNorm2d", "ReLU", "Linear"} <= set(seen)


def test_a_changed_module_is_converted_again() -> None:
    """A module that cannot be converted any more runs in PyTorch."""
    module = mnistcnn.accelerate(Net()).eval()
    change_an_attribute(module)
    torch.testing.assert_close(module(IMAGES), module.forward(IMAGES), rtol=1e-4, atol=1e-5)
    module.block.append(nn.Softmin(1))
    with pytest.warns(mnistcnn.EngineWarning, match="layers of 'block' were added"):
        found = module(IMAGES)
    torch.testing.assert_close(found, module.forward(IMAGES))
    module(IMAGES)  # no new conversion and no second warning
    del module.block[2]
    torch.testing.assert_close(module(IMAGES), module.forward(IMAGES), rtol=1e-4, atol=1e-5)


# ---- attributes that the forward reads


class Config:
    def __init__(self) -> None:
        self.scale, self.comment = 2.0, "unused"


class Configured(nn.Module):
    """Network whose forward reads attributes of many kinds."""

    offset = 0.5
    unread = 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.other = nn.Linear(784, 784), nn.Linear(784, 784)
        self.config, self.factors, self.options = Config(), [1.0, 2.0], {"gate": False, "more": [1]}
        self.epoch = 0

    def head(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factors[1]

    @property
    def shift(self) -> float:
        return self.offset + len(self.options["more"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.other(self.fc(x.flatten(1)))) * self.config.scale + self.shift
        x = x * getattr(self, "gain", 1.0)
        return x.sigmoid() if self.options["gate"] else x


def set_config(net: Any) -> None:
    net.config.scale = 3.0


def set_element(net: Any) -> None:
    net.factors[1] = 5.0


def set_option(net: Any) -> None:
    net.options["gate"] = True


def extend_inner_list(net: Any) -> None:
    net.options["more"].append(1)


def shadow_class_attribute(net: Any) -> None:
    net.offset = 3.0


def set_missing_attribute(net: Any) -> None:
    net.gain = 3.0


def set_class_attribute(net: Any) -> None:
    type(net).offset = 3.0


def replace_method(net: Any) -> None:
    type(net).head = lambda self, x: x.tanh()


def patch_method(net: Any) -> None:
    net.head = lambda x: x.tanh()


def tie(net: Any) -> None:
    net.other.weight = net.fc.weight


def other_shape(net: Any) -> None:
    net.other.weight = nn.Parameter(torch.ones(3, 784) / 784)
    net.other.bias = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize(
    "change",
    [
        *(set_config, set_element, set_option, extend_inner_list, shadow_class_attribute, set_missing_attribute),
        *(set_class_attribute, replace_method, patch_method, tie, other_shape),
    ],
)
def test_a_changed_attribute_takes_effect(change: Callable[[Any], None]) -> None:
    """The module is converted again and runs in the engine."""
    net = mnistcnn.accelerate(type("Configured", (Configured,), {})())
    before = net(IMAGES)
    change(net)
    outputs = net(IMAGES)
    torch.testing.assert_close(outputs, net.forward(IMAGES), rtol=1e-4, atol=1e-5)
    assert outputs.shape != before.shape or not outputs.allclose(before)
    assert "EngineFunction" in str(outputs.grad_fn)


def test_parameters_that_are_no_longer_tied() -> None:
    net = Configured()
    tie(net)
    mnistcnn.accelerate(net)(IMAGES)
    net.other.weight = nn.Parameter(torch.eye(784))
    torch.testing.assert_close(net(IMAGES), net.forward(IMAGES), rtol=1e-4, atol=1e-5)


def test_native_training_of_parameters_that_were_tied_later(data: mnistcnn.ImageSet) -> None:
    """The optimizer updates them as one parameter, as if they had been tied before the conversion."""
    nets = [Configured(), Configured()]
    tie(nets[0])
    for net in nets:
        mnistcnn.from_torch(net)
    tie(nets[1])
    for net in nets:
        mnistcnn.train(net, data, epochs=1, progress=False)
    assert nets[1].other.weight is nets[1].fc.weight
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert one.equal(other)


def test_attributes_that_are_not_read_cause_no_conversion() -> None:
    net = mnistcnn.accelerate(Configured())
    model = mnistcnn.from_torch(net)
    net.epoch += 1
    net.fc.note = "mine"
    type(net).unread = 2
    net(IMAGES)
    assert mnistcnn.from_torch(net) is model
    assert len(vars(net)["_mnistcnn"].conversions) == 1


def test_a_hook_of_the_module_may_call_it_again() -> None:
    net = mnistcnn.accelerate(Configured())
    depth: list[int] = []

    def again(module: nn.Module, inputs: Any, outputs: torch.Tensor) -> None:
        if len(depth) < 2:
            depth.append(1)
            module(*inputs)

    net.register_forward_hook(again)
    torch.testing.assert_close(net(IMAGES), net.forward(IMAGES), rtol=1e-4, atol=1e-5)
    assert "forward" not in vars(net)


def test_a_hooked_module_in_two_threads() -> None:
    """While one thread runs hooks around the engine, another thread can call the module in PyTorch."""
    net = mnistcnn.accelerate(Configured())
    wanted = net.forward(IMAGES)
    inside, done = threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        inside.set()
        done.wait(20)

    handle = net.register_forward_pre_hook(wait)
    thread = threading.Thread(target=net, args=(IMAGES,))
    thread.start()
    assert inside.wait(20)
    handle.remove()
    torch.testing.assert_close(net._call_impl(IMAGES), wanted)
    assert mnistcnn.from_torch(net).violation() is None
    done.set()
    thread.join()


# ---- functions of base classes


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc = nn.Linear(784, 10)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1))

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)

    @classmethod
    def identity(cls, x: torch.Tensor) -> torch.Tensor:
        return x


class Derived(Base):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        return super().features(x).relu()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().scaled(self.identity(super().forward(x)))


@pytest.mark.parametrize("name", ["forward", "features", "scaled"])
@pytest.mark.parametrize("part", ["function", "code"])
def test_a_function_of_a_base_class_may_be_replaced(name: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``super()`` does not read it from the module."""

    def replacement(self: Base, x: torch.Tensor) -> torch.Tensor:
        return 3 * self.fc(x.flatten(1)) if x.dim() == 4 else 3 * x

    module = mnistcnn.accelerate(Derived())
    before = module(IMAGES)
    assert len(vars(module)["_mnistcnn"].conversions) == 1  # a class method is a new object in each access
    if part == "function":
        monkeypatch.setattr(Base, name, replacement)
    else:
        monkeypatch.setattr(getattr(Base, name), "__code__", replacement.__code__)
    outputs = module(IMAGES)
    assert not outputs.allclose(before)
    torch.testing.assert_close(outputs, module.forward(IMAGES), rtol=1e-4, atol=1e-5)
    assert "EngineFunction" in str(outputs.grad_fn)


def test_the_class_of_the_module_may_change() -> None:
    module = mnistcnn.accelerate(Base())
    module(IMAGES)
    module.__class__ = Derived
    outputs = module(IMAGES)
    torch.testing.assert_close(outputs, module.forward(IMAGES), rtol=1e-4, atol=1e-5)
    assert "EngineFunction" in str(outputs.grad_fn)


# ---- frozen parts, unregistered modules, running statistics


class Backbone(nn.Module):
    """Network that computes a frozen part without gradients."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.backbone, self.fc = nn.Linear(784, 32), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(any(each.requires_grad for each in self.backbone.parameters())):
            x = self.backbone(x.flatten(1)).relu()
        return self.fc(x)


def test_a_forward_that_reads_requires_grad() -> None:
    nets = [Backbone(), Backbone()]
    for network in nets:
        network.backbone.requires_grad_(False)
    mnistcnn.accelerate(nets[1])
    for trainable in (False, True, False, True):
        for network in nets:
            if trainable and network.backbone.weight.requires_grad is False:
                network.backbone.weight = nn.Parameter(network.backbone.weight.detach().clone())
            network.backbone.requires_grad_(trainable)
            network.zero_grad()
            outputs = network(IMAGES)
            outputs.square().sum().backward()
            assert (network.backbone.weight.grad is not None) == trainable
        assert "EngineFunction" in str(outputs.grad_fn)


@pytest.mark.parametrize("hold", [lambda layer: [layer], lambda layer: {"a": (layer,)}, lambda layer: Holder(layer)])
def test_a_layer_in_a_list(hold: Callable[[nn.Module], Any]) -> None:
    """PyTorch does not register it, so its mode is its own."""

    class Listed(Base):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Dropout(0.9)
            self.held = hold(self._modules.pop("layer"))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            held = self.held["a"] if isinstance(self.held, dict) else self.held
            layer = held.layer if isinstance(held, Holder) else held[0]
            return layer(super().forward(x))

        def dropout(self) -> nn.Module:
            held = self.held["a"] if isinstance(self.held, dict) else self.held
            return held.layer if isinstance(held, Holder) else held[0]

    module = mnistcnn.accelerate(Listed()).eval()
    assert not module(IMAGES).equal(module(IMAGES))  # the dropout is active
    module.dropout().eval()
    torch.testing.assert_close(module(IMAGES), module.forward(IMAGES), rtol=1e-4, atol=1e-5)
    module.dropout().register_forward_hook(lambda _, images, outputs: 3 * outputs)
    with pytest.warns(mnistcnn.EngineWarning, match="there are hooks on a module in 'held'"):
        torch.testing.assert_close(module(IMAGES), module.forward(IMAGES))


@dataclass
class Holder:
    layer: nn.Module


def test_a_list_of_registered_layers_follows_the_mode() -> None:
    class Aliased(Base):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.1)
            self.layers = [self.drop]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers[0](super().forward(x))

    module = mnistcnn.accelerate(Aliased())
    for training in (True, False, True):
        module.train(training)(IMAGES)
    assert len(vars(module)["_mnistcnn"].conversions) == 1


def test_running_statistics_may_be_removed() -> None:
    module = net()
    module(IMAGES)
    module.norm.running_mean = module.norm.running_var = None
    with pytest.warns(mnistcnn.EngineWarning, match=r"'norm\.running_mean' is not an ordinary float32 tensor"):
        torch.testing.assert_close(module(IMAGES), module.forward(IMAGES))
    with pytest.raises(mnistcnn.ConversionError, match="its running statistics are None"):
        mnistcnn.from_torch(module)


# ---- pre-hooks on the module


def anneal(module: Any, _: Any) -> None:
    module.temp *= 0.5


def freeze_the_norm(module: Any, _: Any) -> None:
    module.norm.eval()


def insert_a_layer(module: Any, _: Any) -> None:
    module.fc = nn.Sequential(module.fc, nn.Tanh())


def pad_the_images(module: Any, inputs: tuple[torch.Tensor]) -> Any:
    return nn.functional.pad(inputs[0], (2, 2, 2, 2))


def switch_to_evaluation(module: Any, _: Any) -> None:
    for each in module.modules():
        each.training = False


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (anneal, "'temp' was changed by a forward pre-hook"),
        (freeze_the_norm, "'norm' is in another mode"),
        (insert_a_layer, "'fc' was replaced by a forward pre-hook"),
        (pad_the_images, r"its images are not \[N, 1, 28, 28\]"),
        (switch_to_evaluation, None),
    ],
)
def test_a_pre_hook_changes_the_module(hook: Callable[..., Any], reason: str | None) -> None:
    module = net().train()
    module.block[1].p = 0.0
    twin = copy.deepcopy(module)
    module(IMAGES), twin(IMAGES)
    for network in (module, twin):
        network.register_forward_pre_hook(hook)
    for call in range(3):
        context = pytest.warns(mnistcnn.EngineWarning, match=reason)
        with context if reason is not None and call == 0 else contextlib.nullcontext():
            outputs = module(IMAGES)
        torch.testing.assert_close(outputs, twin(IMAGES), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.norm.running_mean, twin.norm.running_mean)


def test_a_pre_hook_receives_the_arguments_of_the_call() -> None:
    module, seen = net(), []
    module.register_forward_pre_hook(lambda _, args, kwargs: seen.append((len(args), list(kwargs))), with_kwargs=True)
    module(x=IMAGES), module(IMAGES)
    assert seen == [(0, ["x"]), (1, [])]


# ---- contexts of a call


class Counting(TorchDispatchMode):
    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += "convolution" in str(func)
        return func(*args, **(kwargs or {}))


class Listening(TorchFunctionMode):
    calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += getattr(func, "__name__", "") == "conv2d"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("make", [net, lambda: mnistcnn.create_model("session7_net", seed=1).eval()])
class TestContexts:
    def test_autocast(self, make: Callable[[], nn.Module]) -> None:
        model = make()
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            pytest.warns(mnistcnn.EngineWarning, match="autocast is enabled"),
        ):
            outputs = model(IMAGES)
        assert outputs.dtype in (torch.bfloat16, torch.float32)  # log_softmax returns float32
        torch.testing.assert_close(outputs.float(), model(IMAGES), rtol=0.1, atol=0.1)
        assert not outputs.float().equal(model(IMAGES))

    @pytest.mark.parametrize("mode", [Counting, Listening])
    def test_modes(self, mode: type[Any], make: Callable[[], nn.Module]) -> None:
        model = make()
        with mode() as seen, pytest.warns(mnistcnn.EngineWarning, match="Mode is active"):
            model(IMAGES)
        assert seen.calls > 0

    def test_a_default_device_does_not_prevent_the_engine(self, make: Callable[[], nn.Module]) -> None:
        model = make()
        wanted = model(IMAGES)
        with torch.device("cpu"):
            assert model(IMAGES).equal(wanted)

    def test_flops_are_counted(self, make: Callable[[], nn.Module]) -> None:
        model = make()
        with FlopCounterMode(display=False) as counter, pytest.warns(mnistcnn.EngineWarning):
            model(IMAGES)
        assert counter.get_total_flops() > 100_000

    @pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
    def test_tracing(self, make: Callable[[], nn.Module]) -> None:
        model = make()
        other = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(2))
        with torch.no_grad(), pytest.warns(mnistcnn.EngineWarning, match=r"torch\.jit or torch\.onnx .*tracing"):
            traced = torch.jit.trace(model, IMAGES)
        torch.testing.assert_close(traced(other), model(other), rtol=1e-4, atol=1e-5)
        file = io.BytesIO()
        torch.jit.save(traced, file)

    def test_transforms(self, make: Callable[[], nn.Module]) -> None:
        model = make()
        parameters = {name: each.detach() for name, each in model.named_parameters()}

        def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.func.functional_call(model, values, (IMAGES,)).square().mean()

        with pytest.warns(mnistcnn.EngineWarning, match=r"transform of torch\.func"):
            found = torch.func.grad(loss)(parameters)
        model(IMAGES).square().mean().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-5)

    @pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
    def test_forward_mode(self, make: Callable[[], nn.Module]) -> None:
        model = make()
        direction = torch.rand(IMAGES.shape, generator=torch.Generator().manual_seed(3))
        exact = plain(model).double()
        _, wanted = torch.func.jvp(exact, (IMAGES.double(),), (direction.double(),))
        with forward_ad.dual_level():
            with pytest.warns(mnistcnn.EngineWarning, match="forward-mode"):
                outputs = model(forward_ad.make_dual(IMAGES, direction))
            tangent = forward_ad.unpack_dual(outputs).tangent
        torch.testing.assert_close(tangent.double(), wanted, rtol=1e-3, atol=1e-6)


# ---- second derivatives


@pytest.mark.parametrize("make", [net, lambda: mnistcnn.create_model("session7_net", seed=1).eval()])
def test_second_derivatives_match_pytorch(make: Callable[[], nn.Module]) -> None:
    """Compare a gradient penalty with float64."""
    model = make()
    exact = plain(model).double()
    found = []
    for network, images in ((model, IMAGES), (exact, IMAGES.double())):
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(leaf).square().sum(), leaf, create_graph=True)
        gradient.square().sum().backward()
        found.append([leaf.grad, *(parameter.grad for parameter in network.parameters())])
    for actual, wanted in zip(*found, strict=True):
        if wanted is None:
            assert actual is None or not actual.any()
        else:
            assert (actual - wanted).norm() <= 1e-3 * wanted.norm() + 1e-7


def test_second_derivatives_do_not_update_running_statistics() -> None:
    model = mnistcnn.Model(
        [
            mnistcnn.layers.Conv2d(4, 3),
            mnistcnn.layers.BatchNorm2d(),
            mnistcnn.layers.Flatten(),
            mnistcnn.layers.Linear(10),
        ]
    )
    outputs = model(IMAGES)
    before = {name: each.clone() for name, each in model.named_buffers()}
    torch.autograd.grad(outputs.sum(), list(model.parameters()), create_graph=True, allow_unused=True)
    assert all(each.equal(before[name]) for name, each in model.named_buffers())


def test_second_derivatives_with_dropout_raise() -> None:
    model = net().train()
    with pytest.raises(RuntimeError, match=r"second derivatives .* active dropout"):
        torch.autograd.grad(model(IMAGES).sum(), list(model.parameters()), create_graph=True)
