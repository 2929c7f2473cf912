"""Modules whose ``forward`` writes to tensors, reads buffers, or draws random numbers have the results of PyTorch."""

from __future__ import annotations

import copy
import gc
import sys
import warnings
import weakref
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from mnistcnn.convert import verification
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.tracing import recorder

IMAGES = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """A convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(1, 4, 3, 3), nn.Linear(324, 10)

    def head(self, x: Any) -> Any:
        return self.fc(x.flatten(1))

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x))


def both(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return a module and an accelerated copy."""
    return module, mnistcnn.accelerate(copy.deepcopy(module))


def both_unconverted(module: nn.Module, reason: str) -> tuple[nn.Module, nn.Module]:
    """Return a module, and a copy whose conversion raises an error with this reason."""
    other = copy.deepcopy(module)
    with pytest.raises(ConversionError, match=reason):
        mnistcnn.accelerate(other)
    return module, other


def runs_in_engine(module: nn.Module) -> bool:
    """Return whether a call of a module runs in the engine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mnistcnn.EngineWarning)
        return "Engine" in type(module(IMAGES).grad_fn).__name__


def outputs_of(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", mnistcnn.EngineWarning)
        found: torch.Tensor = module(images)
        return found


def outputs(module: nn.Module) -> torch.Tensor:
    return outputs_of(module, IMAGES)


def assert_same_gradients(first: nn.Module, second: nn.Module) -> None:
    for module in (first, second):
        module.zero_grad()
        module(IMAGES).square().mean().backward()
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None and b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)


class Reversed(torch.autograd.Function):
    """Identity with another gradient."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:  # type: ignore[override]
        return -5 * gradient


class WithFunction(Net):
    def forward(self, x: Any) -> Any:
        return self.head(Reversed.apply(self.conv(x)))


class WithIgnoredWrite(Net):
    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        with torch.no_grad():
            x.mul_(2)
        return self.head(x)


class WithIntegers(Net):
    def forward(self, x: Any) -> Any:
        return self.head((self.conv(x) * 1e5).to(torch.int32).float() * 1e-5)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (WithFunction, "does not support the autograd function Reversed"),
        (WithIgnoredWrite, r"changes a tensor with a gradient in place under torch\.no_grad"),
        (WithIntegers, r"converts to torch\.int32"),
    ],
)
def test_gradients_that_the_engine_cannot_compute(kind: type[nn.Module], reason: str):
    plain, other = both_unconverted(kind(), reason)
    assert_same_gradients(plain, other)
    with pytest.raises(ValueError, match=reason):
        mnistcnn.from_torch(kind())


class WithClamp(Net):
    """Network whose first layer has zero weights, so that each value is a bound of the clamp."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x).clamp(min=0))


class WithNumbers(Net):
    """Network with a second output of one number per image."""

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        return self.head(x), x.mean((1, 2, 3))


def test_an_output_of_one_number_per_image():
    net = mnistcnn.accelerate(WithNumbers())
    plain = WithNumbers()
    for found, expected in zip(net(IMAGES), plain(IMAGES), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_small_gradient_that_is_missing_is_noticed():
    gradients = {"large": torch.full((4,), 50.0), "small": torch.tensor([0.05])}
    run: Any = SimpleNamespace(gradients=gradients, output_gradients=torch.ones(3))
    verification._compare_gradients("Net", run, {**gradients, "small": torch.tensor([0.06])})
    with pytest.raises(ConversionError, match="does not compute the gradient that PyTorch computes for 'small' of Net"):
        verification._compare_gradients("Net", run, {**gradients, "small": None})


def test_lazy_layers_get_the_weights_of_pytorch():
    def lazy() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

    expected, net = lazy(), lazy()
    torch.manual_seed(1)
    expected(IMAGES)
    torch.manual_seed(1)
    mnistcnn.from_torch(net)
    torch.testing.assert_close(net.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_the_gradient_of_a_clamp_at_its_bound():
    plain, other = both(WithClamp())
    assert runs_in_engine(other)
    assert_same_gradients(plain, other)


def test_the_conversion_compares_gradients(monkeypatch: pytest.MonkeyPatch):
    """A ReLU has the values of the clamp, but another gradient at the bound."""
    monkeypatch.setitem(recorder._HANDLERS, "clamp", lambda call, x, **_: recorder._HANDLERS["relu"](call, x))
    reason = r"does not compute the gradient .* for 'conv\.weight' of WithClamp"
    plain, other = both_unconverted(WithClamp(), reason)
    assert_same_gradients(plain, other)
    with pytest.raises(ConversionError, match=reason):
        mnistcnn.from_torch(plain)


@pytest.mark.parametrize("place", ["parameter", "layer", "root", "all modules"])
def test_the_conversion_calls_no_backward_hook(place: str):
    net, calls = Net(), []
    register: Any = {
        "parameter": net.conv.weight.register_hook,
        "layer": net.conv.register_full_backward_hook,
        "root": net.register_full_backward_pre_hook,
        "all modules": nn.modules.module.register_module_full_backward_hook,
    }[place]
    handle = register(lambda *args: calls.append(args))
    try:
        mnistcnn.accelerate(net)
        assert calls == []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mnistcnn.EngineWarning)
            net(IMAGES.clone().requires_grad_()).sum().backward()
        assert len(calls) > 0
    finally:
        handle.remove()


class WithScale(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x)) * self.scale


class WithCondition(WithScale):
    def forward(self, x: Any) -> Any:
        x = self.head(self.conv(x))
        return x.tanh() if self.scale > 2 else x


class WithPlainTensor(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.tensor(1.0)

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x)) * self.scale


@pytest.mark.parametrize("kind", [WithScale, WithCondition, WithPlainTensor])
def test_a_tensor_that_forward_reads_may_change(kind: type[Any]):
    plain, other = both(kind())
    torch.testing.assert_close(outputs(plain), outputs(other))
    for module in (plain, other):
        module.scale.fill_(3)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(outputs(plain), outputs(other))
    for module in (plain, other):
        module.scale = torch.tensor(0.5)
    torch.testing.assert_close(outputs(plain), outputs(other))
    assert runs_in_engine(other)


class ClassSettings:
    scale = 1.0


class DictSettings(dict):  # type: ignore[type-arg]
    """Dictionary whose items are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    __setattr__ = dict.__setitem__


@dataclass(slots=True)
class SlotSettings:
    scale: float = 1.0


class WithSettings(Net):
    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Any) -> Any:
        first = self.settings[0] if isinstance(self.settings, list | deque) else self.settings
        return self.head(self.conv(x)) * getattr(first, "inner", first).scale


@pytest.mark.parametrize(
    "settings",
    [
        ClassSettings(),
        DictSettings(scale=1.0),
        SlotSettings(),
        SimpleNamespace(scale=1.0),
        SimpleNamespace(inner=SlotSettings()),
        [SlotSettings()],
        deque([DictSettings(scale=1.0)]),
    ],
    ids=["class attribute", "dict", "slots", "namespace", "nested", "list", "deque"],
)
def test_settings_of_an_object_may_change(settings: Any):
    plain, other = both(WithSettings(settings))
    torch.testing.assert_close(outputs(plain), outputs(other))
    for module in (plain, other):
        found: Any = module.settings
        found = found[0] if isinstance(found, list | deque) else found
        getattr(found, "inner", found).scale = 2.0
    torch.testing.assert_close(outputs(plain), outputs(other))
    assert runs_in_engine(other)


def test_settings_of_a_class_may_change(monkeypatch: pytest.MonkeyPatch):
    plain, other = both(WithSettings(ClassSettings))
    torch.testing.assert_close(outputs(plain), outputs(other))
    monkeypatch.setattr(ClassSettings, "scale", 2.0)
    torch.testing.assert_close(outputs(plain), outputs(other))


class WithClassDictionary(Net):
    options: ClassVar[dict[str, float]] = {"scale": 1.0}

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x)) * self.options["scale"]


def test_a_dictionary_of_the_class_may_change(monkeypatch: pytest.MonkeyPatch):
    plain, other = both(WithClassDictionary())
    torch.testing.assert_close(outputs(plain), outputs(other))
    monkeypatch.setitem(WithClassDictionary.options, "scale", 2.0)
    torch.testing.assert_close(outputs(plain), outputs(other))


class WithNamedBuffers(WithScale):
    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x)) * dict(self.named_buffers())["scale"]


def test_a_buffer_of_named_buffers_may_change():
    plain, other = both(WithNamedBuffers())
    torch.testing.assert_close(outputs(plain), outputs(other))
    for module in (plain, other):
        module.scale.fill_(3)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(outputs(plain), outputs(other))


class WithOptionalNorm(Net):
    """A batch norm that is skipped for a single image."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(10)

    def forward(self, x: Any) -> Any:
        logits = self.head(self.conv(x))
        return self.norm(logits) if len(x) > 1 else logits


class WithSqueeze(Net):
    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x)).squeeze()


@pytest.mark.parametrize("kind", [WithOptionalNorm, WithSqueeze])
def test_forward_computes_something_else_for_one_image(kind: type[Net]):
    plain, other = both(kind())
    for training in (True, False):
        for module in (plain.train(training), other.train(training)):
            module(IMAGES)
        torch.testing.assert_close(other(IMAGES), plain(IMAGES))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mnistcnn.EngineWarning)
            torch.testing.assert_close(other(IMAGES[:1]), plain(IMAGES[:1]))
    assert runs_in_engine(other)
    with pytest.warns(mnistcnn.EngineWarning, match="computes something else for 1 image than for a larger batch"):
        mnistcnn.accelerate(kind())(IMAGES[:1])


def test_from_torch_warns_if_forward_computes_something_else_for_one_image():
    with pytest.warns(mnistcnn.EngineWarning, match="WithOptionalNorm computes something else for fewer than 2 images"):
        mnistcnn.from_torch(WithOptionalNorm())
    mnistcnn.from_torch(WithSqueeze())  # the same values, in another shape


class WithTracker(Net):
    """Reads an object with lists that grow in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = SimpleNamespace(scale=1.0, losses=[])

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x)) * self.tracker.scale


def test_lists_inside_of_objects_are_not_compared():
    _, other = both(WithTracker())
    for _ in range(3):
        outputs(other)
        other.tracker.losses.append(1.0)  # type: ignore[union-attr,operator]
    assert len(other._mnistcnn.conversions) == 1  # type: ignore[union-attr]


def test_a_list_inside_of_a_named_tuple_may_change():
    class Sizes(NamedTuple):
        values: list[SlotSettings]
        scale: float = 1.0

    first = Sizes([SlotSettings()])
    plain, other = both(WithSettings(first))
    torch.testing.assert_close(outputs(plain), outputs(other))
    changed = other._mnistcnn.conversions[-1]  # type: ignore[union-attr,index]
    other.settings.values.append(SlotSettings())  # type: ignore[union-attr,operator]
    assert not changed.is_current()


class WithPixels(Net):
    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x.float() / 255))


class WithDivision(Net):
    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x / 255))


class WithDivisionOfAPaddedCrop(Net):
    def forward(self, x: Any) -> Any:
        return self.head(self.conv(F.pad(x[:, :, 1:-1, 1:-1], (1, 1, 1, 1)).mul(1 / 255)))


class WithDivisionOfRows(Net):
    """Network that takes images as [N, 784]."""

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(torch.true_divide(other=255, input=x.view(-1, 784)).view(-1, 1, 28, 28)))


class WithOwnTensor(Net):
    def __init__(self) -> None:
        super().__init__()
        self.range = nn.Parameter(torch.tensor(1 / 255))

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x * self.range))


PIXELS = [WithPixels, WithDivision, WithDivisionOfAPaddedCrop, WithDivisionOfRows, WithOwnTensor]


@pytest.mark.parametrize("kind", PIXELS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_forward_converts_pixels(dtype: torch.dtype, kind: type[Net]):
    plain, other = both(kind())
    pixels = (IMAGES * 255).to(dtype)
    with pytest.warns(mnistcnn.EngineWarning, match=f"depends on the dtype of the images, which is {dtype}"):
        torch.testing.assert_close(other(pixels), plain(pixels))
    torch.testing.assert_close(other(pixels.float()), plain(pixels))
    assert runs_in_engine(other)
    other.conv.register_forward_hook(lambda *_: None)
    torch.testing.assert_close(outputs_of(other, pixels), plain(pixels))


def test_integer_images_are_normalized_if_forward_does_not_depend_on_their_dtype():
    plain, other = both(Net())
    torch.testing.assert_close(other((IMAGES * 255).byte()), plain((IMAGES * 255).byte() / 255))


class WithNumPyNumbers(Net):
    def forward(self, x: Any) -> Any:
        x = self.head(self.conv(x)) * np.float32(2) / np.prod([2, 3])
        return torch.add(torch.mul(x, other=2.0), other=1)


def test_numbers_of_numpy_and_keywords_of_torch():
    plain, other = both(WithNumPyNumbers())
    torch.testing.assert_close(outputs(plain), outputs(other))
    assert runs_in_engine(other)


def test_batches_of_gradients():
    plain, other = both(Net())
    expected, found = (
        torch.autograd.functional.jacobian(each, IMAGES, vectorize=True)  # type: ignore[no-untyped-call]
        for each in (plain, other)
    )
    torch.testing.assert_close(found, expected)


def test_torch_fx_traces_an_accelerated_part():
    traced = torch.fx.symbolic_trace(nn.Sequential(mnistcnn.accelerate(Net()), nn.ReLU()))
    torch.testing.assert_close(traced(IMAGES), Net()(IMAGES).relu())


def test_a_loaded_buffer_takes_effect():
    plain, other = both(WithScale())
    for module in (plain, other):
        module.load_state_dict({**module.state_dict(), "scale": torch.tensor(3.0)})
    torch.testing.assert_close(outputs(plain), outputs(other))


class WithMask(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, 3, bias=False)
        self.register_buffer("mask", None)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        return self.head(x if self.mask is None else x * self.mask)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net, "mask", torch.tensor(0.0)),
        lambda net: setattr(net.conv, "bias", nn.Parameter(torch.ones(4))),
        lambda net: net.register_parameter("unused", nn.Parameter(torch.ones(4))),
    ],
    ids=["buffer", "bias", "other parameter"],
)
def test_parameters_and_buffers_may_be_set_later(change: Any):
    plain, other = both(WithMask())
    outputs(other)
    for module in (plain, other):
        change(module)
    torch.testing.assert_close(outputs(plain), outputs(other))
    assert runs_in_engine(other)


class WithBoundedWeights(Net):
    def forward(self, x: Any) -> Any:
        self.conv.weight.data.clamp_(-1, 1)
        return self.head(self.conv(x))


class WithNormalizedWeights(Net):
    def forward(self, x: Any) -> Any:
        self.conv.weight.data = torch.renorm(self.conv.weight.data, 2, 0, maxnorm=1.0)
        return self.head(self.conv(x))


@pytest.mark.parametrize("kind", [WithBoundedWeights, WithNormalizedWeights])
def test_writes_to_weights_that_change_nothing_at_first(kind: type[Any]):
    plain, other = both(kind())
    for module in (plain, other):
        module.conv.weight.data.mul_(9)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(outputs(plain), outputs(other))
    with pytest.raises(ValueError, match=r"it changes the parameter 'conv\.weight'"):
        mnistcnn.from_torch(kind())


class WithUnusedNorm(Net):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        self.bn(x)
        return self.head(x)


def test_batch_norm_whose_output_is_not_used():
    plain, other = both(WithUnusedNorm())
    with pytest.warns(mnistcnn.EngineWarning, match="updates the running statistics of 'bn' in a call whose output"):
        other(IMAGES)
    plain(IMAGES)
    assert plain.bn.num_batches_tracked == other.bn.num_batches_tracked == 1  # type: ignore[union-attr]
    torch.testing.assert_close(plain.bn.running_mean, other.bn.running_mean)  # type: ignore[union-attr]


class WithGenerator(Net):
    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        if isinstance(self.generator, torch.Generator):
            drawn = torch.rand(1, generator=self.generator).item()
        else:
            drawn = self.generator.random()
        return self.head(x * 0 if self.training and drawn > 0.7 else x)


GENERATORS = [np.random.default_rng, np.random.RandomState, lambda seed: torch.Generator().manual_seed(seed)]


@pytest.mark.parametrize("make", GENERATORS, ids=["numpy", "RandomState", "torch"])
def test_random_numbers_of_a_generator_of_the_module(make: Any):
    plain = WithGenerator(make(0))
    other = WithGenerator(make(0))
    with pytest.warns(mnistcnn.EngineWarning, match="draws random numbers from 'generator'"):
        mnistcnn.accelerate(other)(IMAGES)
    plain(IMAGES)
    for _ in range(10):
        torch.testing.assert_close(plain(IMAGES), other(IMAGES))


class WithLog(Net):
    def __init__(self) -> None:
        super().__init__()
        self.log: dict[str, list[int]] = {"sizes": []}

    def forward(self, x: Any) -> Any:
        self.log["sizes"].append(len(x))
        return self.head(self.conv(x))


def test_lists_inside_of_containers():
    _, other = both(WithLog())
    outputs(other)
    assert other.log == {"sizes": [4]}


class WithDropout(Net):
    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.drop, self.inplace = nn.Dropout(0.5), inplace

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        if self.inplace:
            return self.fc(F.dropout(x.flatten(1), 1.0, self.training, inplace=True) + x.flatten(1))
        h = self.drop(x)
        h += 1
        return self.head(h + x)


def test_the_output_of_a_dropout_is_its_input_in_evaluation():
    plain, other = both_unconverted(WithDropout(inplace=False).eval(), "its input was changed in place")
    torch.testing.assert_close(outputs(plain), outputs(other))


def test_dropout_in_place_changes_the_views_of_its_input():
    plain, other = both_unconverted(WithDropout(inplace=True).train(), "its input was changed in place")
    torch.testing.assert_close(outputs(plain), outputs(other))


class WithFrozenPart(Net):
    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            features = self.conv(x).flatten(1)
        return self.fc(features)


def test_a_part_without_gradient_runs_in_the_engine():
    plain, other = both(WithFrozenPart())
    assert runs_in_engine(other)
    assert_same_gradients(plain, other)


class WithGate(Net):
    gate = False

    def forward(self, x: Any) -> Any:
        x = self.head(self.conv(x))
        return x.tanh() if self.gate else x


def test_a_shallow_copy_has_its_own_conversion():
    first = mnistcnn.accelerate(WithGate())
    second = copy.copy(first)
    second.gate = True
    mnistcnn.accelerate(second)
    torch.testing.assert_close(second(IMAGES), second.forward(IMAGES))
    torch.testing.assert_close(first(IMAGES), first.forward(IMAGES))


def test_a_changed_module_is_not_converted_inside_of_autocast_or_a_trace():
    _, other = both(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2704, 10)))
    other[1] = nn.Tanh()  # type: ignore[operator]
    with torch.autocast("cpu"):
        assert other(IMAGES).dtype == torch.bfloat16
    assert runs_in_engine(other)
    other[1] = nn.ReLU()  # type: ignore[operator]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(other, IMAGES)
    torch.testing.assert_close(traced(IMAGES), other(IMAGES))
    assert runs_in_engine(other)


@pytest.mark.parametrize("convert", [mnistcnn.accelerate, mnistcnn.from_torch])
def test_a_conversion_does_not_depend_on_autocast(convert: Any):
    net = Net()
    with torch.autocast("cpu"):
        convert(net)
        with pytest.warns(mnistcnn.EngineWarning, match="autocast is enabled"):
            assert mnistcnn.accelerate(net)(IMAGES).dtype == torch.bfloat16
    assert runs_in_engine(net)


def test_native_runs_do_not_skip_hooks_on_the_module():
    net = Net()
    mnistcnn.from_torch(net, normalization=mnistcnn.Normalization(0, 1))
    net.register_forward_hook(lambda module, images, output: -output)
    images = np.zeros((3, 28, 28), np.uint8)
    with pytest.raises(ValueError, match="there are hooks on it"):
        mnistcnn.predict(net, images)


class WithList(Net):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Conv2d(4, 4, 1)]

    def forward(self, x: Any) -> Any:
        return self.head(self.layers[0](self.conv(x)))


class WithKernel(Net):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = torch.ones(4, 1, 3, 3)

    def forward(self, x: Any) -> Any:
        return self.head(F.conv2d(x, self.kernel, stride=3))


@pytest.mark.parametrize(
    ("kind", "advice"), [(WithList, r"nn\.ModuleList instead of a list"), (WithKernel, r"use self\.register_buffer")]
)
def test_weights_that_are_not_registered(kind: type[nn.Module], advice: str):
    with pytest.raises(ConversionError, match=advice):
        mnistcnn.from_torch(kind())


class WithNewLayer(Net):
    """Network that creates its last layer in the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Any = None

    def forward(self, x: Any) -> Any:
        if self.last is None:
            self.last = nn.Linear(10, 3)
        return self.last(self.head(self.conv(x)))


def test_layers_that_forward_creates():
    net = WithNewLayer()
    before = dict(net.named_parameters())
    for _ in range(2):  # the first attempt leaves no trace
        with pytest.raises(ConversionError, match=r"`forward` has created its weight; .* call the module once before"):
            mnistcnn.accelerate(net)
    assert net.last is None
    assert dict(net.named_parameters()).keys() == before.keys()
    expected = net(IMAGES)
    assert isinstance(net.last, nn.Linear)
    assert runs_in_engine(mnistcnn.accelerate(net))
    torch.testing.assert_close(net(IMAGES), expected)


class WithNewBuffer(Net):
    """Network that creates a buffer in the first call, and replaces a layer."""

    def forward(self, x: Any) -> Any:
        if not hasattr(self, "scale"):
            self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)
            self.other = nn.ReLU()
        return self.head(self.other(self.conv(x)) * self.scale)


def test_buffers_that_forward_creates():
    net = mnistcnn.accelerate(WithNewBuffer())
    assert not hasattr(net, "scale")
    assert not hasattr(net, "other")
    assert net._non_persistent_buffers_set == set()
    with pytest.warns(mnistcnn.EngineWarning, match=r"it sets 'other', it sets 'scale'"):
        expected = net(IMAGES)
    assert runs_in_engine(net)
    torch.testing.assert_close(net(IMAGES), expected)


class WithMessage(Net):
    def forward(self, x: Any) -> Any:
        print("called", file=sys.stderr)
        return self.head(self.conv(x))


def test_messages_on_stderr_are_a_side_effect(capsys: Any):
    _, other = both(WithMessage())
    assert capsys.readouterr().err == ""
    outputs(other)
    assert capsys.readouterr().err == "called\n"


def test_training_does_not_skip_hooks_on_parameters():
    net = Net()
    net.conv.weight.register_hook(lambda gradient: gradient * 0)
    images = mnistcnn.ImageSet.from_arrays(np.zeros((8, 28, 28), np.uint8), np.arange(8))
    with pytest.raises(ValueError, match=r"parameter 'conv\.weight' has a hook"):
        mnistcnn.train(net, images, epochs=1, progress=False)


@pytest.mark.parametrize("use", [mnistcnn.from_torch, lambda net: mnistcnn.accelerate(net)(IMAGES).sum().backward()])
def test_a_converted_module_is_freed(use: Any):
    net = Net()
    reference = weakref.ref(net)
    use(net)
    del net
    gc.collect()
    assert reference() is None


def test_a_failed_conversion_leaves_lazy_layers_unchanged():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(10))
    with pytest.raises(ConversionError, match=r"It accepts images of \(3, 32, 32\)"):
        mnistcnn.from_torch(net)
    assert mnistcnn.from_torch(net, (3, 28, 28)).output_shape == (10,)
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.Linear(3600, 10))
    with pytest.raises(ConversionError):
        mnistcnn.from_torch(net)
    assert mnistcnn.from_torch(net, (3, 32, 32)).output_shape == (10,)


def test_settings_follow_the_latest_conversion():
    class Gated(Net):
        gate = 1.0

        def forward(self, x: Any) -> Any:
            return self.head(self.conv(x) * self.gate)

    net = mnistcnn.accelerate(Gated())
    net(IMAGES)
    net.gate = 2.0
    latest = mnistcnn.from_torch(net, normalization=mnistcnn.Normalization(0.3, 0.2))
    latest.class_names = tuple("abcdefghij")
    net.gate = 1.0  # the first conversion is still cached
    model = mnistcnn.from_torch(net)
    assert model.normalization == mnistcnn.Normalization(0.3, 0.2)
    assert model.class_names == tuple("abcdefghij")
