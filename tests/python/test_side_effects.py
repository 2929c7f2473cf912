"""Modules whose ``forward`` has side effects run in PyTorch, and a conversion does not change the module."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from mnistcnn.convert import side_effects

IMAGES = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Small network whose forward calls `extra` with its features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(1, 4, 5, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(144, 10)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.calls = 0
        self.seen: list[Any] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x)).relu()
        self.extra(x)
        return self.fc(x.flatten(1))

    def extra(self, x: torch.Tensor) -> None:
        pass


def store(self: Any, x: torch.Tensor) -> None:
    self.features = x


def store_in_a_layer(self: Any, x: torch.Tensor) -> None:
    self.conv.latest = x


def print_the_shape(self: Any, x: torch.Tensor) -> None:
    print(x.shape)


def warn(self: Any, x: torch.Tensor) -> None:
    warnings.warn("a warning of the user", UserWarning, stacklevel=2)


def hook_a_tensor(self: Any, x: torch.Tensor) -> None:
    if x.requires_grad:
        x.register_hook(lambda gradient: gradient)


def count(self: Any, x: torch.Tensor) -> None:
    self.calls += 1


def count_in_a_buffer(self: Any, x: torch.Tensor) -> None:
    self.steps.add_(1)


def replace_a_buffer(self: Any, x: torch.Tensor) -> None:
    self.steps = self.steps + 1


def append(self: Any, x: torch.Tensor) -> None:
    self.seen.append(x)


def clamp_a_weight(self: Any, x: torch.Tensor) -> None:
    self.fc.weight.data.clamp_(-0.01, 0.01)


def draw_in_python(self: Any, x: torch.Tensor) -> None:
    random.random()


def draw_in_numpy(self: Any, x: torch.Tensor) -> None:
    np.random.rand()


def draw_in_torch(self: Any, x: torch.Tensor) -> None:
    torch.rand(3)


STATELESS = {
    store: "it sets 'features'",
    store_in_a_layer: r"it sets 'conv\.latest'",
    print_the_shape: "it prints",
    warn: "it emits a warning",
    hook_a_tensor: "it uses requires_grad of a tensor",
}
STATE = {
    count: "it sets 'calls'",
    count_in_a_buffer: "it changes the buffer 'steps'",
    replace_a_buffer: "it changes the buffer 'steps'",
    append: "it changes the list 'seen'",
    clamp_a_weight: r"it changes the parameter 'fc\.weight'",
    draw_in_python: "it draws random numbers",
    draw_in_numpy: "it draws random numbers",
    draw_in_torch: "it draws random numbers",
}
ALL = {**STATELESS, **STATE}
Extra = Callable[[Any, torch.Tensor], None]


def net_with(extra: Extra) -> Net:
    return type("Net", (Net,), {"extra": extra})()


def state_of(net: nn.Module) -> list[Any]:
    return [
        [dict(vars(each)) for each in net.modules()],
        [list(each.seen) for each in net.modules() if isinstance(each, Net)],
        {name: tensor.clone() for name, tensor in net.state_dict().items()},
        random.getstate(),
        np.random.get_state(legacy=True)[2],
        torch.get_rng_state().tolist(),
    ]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(each, b[key]) for key, each in a.items() if key != "_mnistcnn")
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("extra", ALL, ids=lambda each: each.__name__)
@pytest.mark.filterwarnings("ignore:a warning of the user")
def test_side_effects_occur_in_every_call(extra: Extra, capsys: pytest.CaptureFixture[str]) -> None:
    net, plain = net_with(extra), net_with(extra)
    assert mnistcnn.accelerate(net) is net
    for model in (net, plain):
        torch.manual_seed(1), random.seed(1), np.random.seed(1)
        if model is net:
            with pytest.warns(mnistcnn.EngineWarning, match=ALL[extra]):
                outputs = model(IMAGES)
            outputs = model(IMAGES)  # a second warning would be an error
        else:
            wanted, wanted = model(IMAGES), model(IMAGES)
    assert outputs.equal(wanted)
    assert (net.calls, int(net.steps), len(net.seen)) == (plain.calls, int(plain.steps), len(plain.seen))
    assert hasattr(net, "features") == hasattr(plain, "features")
    assert net.fc.weight.equal(plain.fc.weight)
    printed = capsys.readouterr().out
    assert printed.count("torch.Size") == (4 if extra is print_the_shape else 0)


@pytest.mark.parametrize("extra", ALL, ids=lambda each: each.__name__)
@pytest.mark.filterwarnings("ignore:a warning of the user")
def test_a_conversion_does_not_change_the_module(extra: Extra) -> None:
    net = net_with(extra)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = state_of(net)
    mnistcnn.accelerate(net)
    mnistcnn.remove_acceleration(net)
    assert same(before, state_of(net))


@pytest.mark.parametrize("extra", STATELESS, ids=lambda each: each.__name__)
def test_native_runs_warn_of_missing_side_effects(extra: Extra) -> None:
    net = net_with(extra)
    with pytest.warns(mnistcnn.EngineWarning, match=STATELESS[extra]):
        outputs = mnistcnn.predict(net, IMAGES)
    wanted = net_with(lambda *_: None).eval()(IMAGES).argmax(1)
    assert outputs.argmax(1).tolist() == wanted.tolist()
    mnistcnn.predict(net, IMAGES)  # the warning is emitted once


@pytest.mark.parametrize("extra", STATE, ids=lambda each: each.__name__)
def test_native_runs_raise_for_state(extra: Extra) -> None:
    with pytest.raises(mnistcnn.ConversionError, match=STATE[extra]):
        mnistcnn.from_torch(net_with(extra))


# ---- state in objects


class Meter:
    def __init__(self) -> None:
        self.n, self.generator = 0, random.Random(0)

    def update(self) -> None:
        self.n += 1


@dataclass(slots=True)
class Schedule:
    step: int = 0


class OfPackage:
    """Object whose contents are not examined, because its class pretends to belong to Python."""

    __module__ = "logging"

    def __init__(self) -> None:
        self.n = 0


def add_one_to_n(held: Any) -> None:
    held.n += 1


def add_one_to_the_first(held: Any) -> None:
    held[0] += 1


def count_a_call(held: Any) -> None:
    held["calls"] += 1


def make_a_step(held: Any) -> None:
    held.step += 1


HELD: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "namespace": (lambda: SimpleNamespace(n=0), add_one_to_n, lambda held: held.n),
    "object": (Meter, Meter.update, lambda held: held.n),
    "object in a list": (lambda: [Meter()], lambda held: held[0].update(), lambda held: held[0].n),
    "dataclass": (Schedule, make_a_step, lambda held: held.step),
    "counter": (Counter, count_a_call, lambda held: held["calls"]),
    "array": (lambda: np.zeros(2), add_one_to_the_first, lambda held: held.tolist()),
    "array in a tuple": (lambda: (np.zeros(2),), lambda held: add_one_to_the_first(held[0]), lambda held: held[0][0]),
    "tensor": (lambda: torch.zeros(2), lambda held: held.add_(1), lambda held: held.tolist()),
    "data of a tensor": (lambda: torch.zeros(2), lambda held: held.data.add_(1), lambda held: held.tolist()),
    "tensor in a list": (lambda: [torch.zeros(())], add_one_to_the_first, lambda held: float(held[0])),
    "generator in a dictionary": (
        lambda: {"a": np.random.default_rng(0)},
        lambda held: held["a"].random(),
        lambda held: held["a"].bit_generator.state["state"]["state"],
    ),
    "generator of an object": (
        Meter,
        lambda held: held.generator.random(),
        lambda held: held.generator.getstate(),
    ),
}


class Holding(Net):
    def __init__(self, make: Callable[[], Any], change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.held, self._change = make(), change

    def extra(self, x: torch.Tensor) -> None:
        self._change(self.held)


@pytest.mark.parametrize("case", HELD)
def test_state_in_an_object(case: str) -> None:
    make, change, read = HELD[case]
    net, plain = Holding(make, change), Holding(make, change)
    mnistcnn.accelerate(net)
    assert read(net.held) == read(make())
    with pytest.warns(mnistcnn.EngineWarning, match="'held'"):
        net(IMAGES)
    net(IMAGES), plain(IMAGES), plain(IMAGES)
    assert read(net.held) == read(plain.held) != read(make())
    assert len(vars(net)["_mnistcnn"].conversions) == 1
    with pytest.raises(mnistcnn.ConversionError, match=r"keeps state between calls or is random: .* 'held'"):
        mnistcnn.from_torch(Holding(make, change))


def test_state_in_an_object_of_a_package() -> None:
    net = mnistcnn.accelerate(Holding(OfPackage, add_one_to_n))
    before = net.held.n  # not restored
    with pytest.warns(mnistcnn.EngineWarning, match="it changes 'held'"):
        net(IMAGES)
    net(IMAGES)
    assert net.held.n == before + 2
    assert len(vars(net)["_mnistcnn"].conversions) == 1


def test_a_large_tensor_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version counter shows the change."""
    monkeypatch.setattr(side_effects, "_MAX_BYTES", 100)
    net = mnistcnn.accelerate(Holding(lambda: [torch.zeros(20), torch.zeros(40)], lambda held: held[1].add_(1)))
    before = net.held[1].clone()
    with pytest.warns(mnistcnn.EngineWarning, match="it changes a Tensor in 'held'"):
        net(IMAGES)
    assert net.held[1].equal(before + 1)


def test_objects_that_forward_only_reads_are_not_state() -> None:
    for make, _, read in HELD.values():
        net = mnistcnn.accelerate(Holding(make, read))
        with warnings.catch_warnings():
            warnings.simplefilter("error", mnistcnn.EngineWarning)
            net(IMAGES)


def change_the_images(x: torch.Tensor) -> torch.Tensor:
    x -= 0.5
    return x


def change_a_view_of_the_images(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.relu(x.flatten(1), inplace=True).view_as(x)


@pytest.mark.parametrize("change", [change_the_images, change_a_view_of_the_images])
def test_forward_changes_the_images(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    class Changing(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(change(x))

    net, plain, images, wanted = mnistcnn.accelerate(Changing()), Changing(), IMAGES - 0.5, IMAGES - 0.5
    with pytest.warns(mnistcnn.EngineWarning, match="it changes the images"):
        net(images)
    plain(wanted)
    assert images.equal(wanted)


def test_an_attribute_that_is_set_before_it_is_read_is_not_state() -> None:
    class Stores(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.features = self.norm(self.conv(x)).relu()
            return self.fc(self.features.flatten(1))

    with pytest.warns(mnistcnn.EngineWarning, match="it sets 'features'"):
        mnistcnn.from_torch(Stores())


def test_disabling_a_side_effect_enables_the_engine() -> None:
    class Debugging(Net):
        debug = True

        def extra(self, x: torch.Tensor) -> None:
            if self.debug:
                self.features = x

    net = mnistcnn.accelerate(Debugging())
    with pytest.warns(mnistcnn.EngineWarning, match="it sets 'features'"):
        net(IMAGES)
    features, net.debug = net.features, False
    torch.testing.assert_close(net(IMAGES), net.forward(IMAGES), rtol=1e-4, atol=1e-5)  # without a warning
    assert net.features is features


def test_warnings_of_torch_are_not_side_effects() -> None:
    class Old(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.log_softmax(super().forward(x))  # warns about the missing dim

    with warnings.catch_warnings():
        warnings.simplefilter("error", mnistcnn.EngineWarning)
        mnistcnn.accelerate(Old())(IMAGES)


def test_no_grad_in_part_of_the_forward() -> None:
    """``torch.no_grad()`` within ``forward`` stops the gradients, as in PyTorch."""

    class Frozen(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                x = self.norm(self.conv(x)).relu()
            return self.fc(x.flatten(1))

    found, wanted = mnistcnn.accelerate(Frozen()), Frozen()
    for net in (found, wanted):
        net(IMAGES).square().sum().backward()
    assert found.conv.weight.grad is None
    assert found.norm.weight.grad is None
    torch.testing.assert_close(found.fc.weight.grad, wanted.fc.weight.grad, rtol=1e-4, atol=1e-4)
    before = [each.clone() for each in (found.conv.weight, found.fc.weight)]
    mnistcnn.train(found, mnistcnn.load("digits")[1][:64], epochs=1, progress=False)
    assert found.conv.weight.equal(before[0])
    assert not found.fc.weight.equal(before[1])


def test_no_grad_on_the_whole_forward() -> None:
    class Frozen(Net):
        @torch.no_grad()
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)

    outputs = mnistcnn.accelerate(Frozen())(IMAGES)
    outputs.sum().backward() if outputs.requires_grad else None
    assert outputs.requires_grad is Frozen()(IMAGES).requires_grad is False


def test_everything_is_restored_after_an_exception() -> None:
    class Failing(Net):
        def extra(self, x: torch.Tensor) -> None:
            self.calls, self.features = 7, 8
            self.seen.append(1)
            self.fc.weight.data.zero_()
            self.fc.weight.data = torch.ones(2, 2)
            self.eval()
            raise RuntimeError("stop")

    net = Failing()
    with pytest.raises(mnistcnn.ConversionError, match="stop"):
        mnistcnn.accelerate(net)
    assert (net.calls, net.seen, net.training) == (0, [], True)
    assert not hasattr(net, "features")
    assert net.fc.weight.equal(Net().fc.weight)
