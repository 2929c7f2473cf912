"""Training loops of users with an accelerated module: same behaviour as in PyTorch."""

from __future__ import annotations

import copy
import io
import os
import pickle
import random
import subprocess
import sys
from functools import partial
from types import FrameType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from isolated import run_in_threads, succeeds_in_forked_child
from networks import NETWORKS
from random_graphs import random_graph, stir
from reference import distance, length

pytestmark = pytest.mark.usefixtures("torch_randomness_restored")

IMAGES = torch.randn(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 10


class Net(nn.Module):
    """Network with a batch norm, module and functional dropout, an unused layer and a method."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.blocks = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.Dropout2d(p))
        self.unused = nn.Linear(2, 2)
        self.fc = nn.Linear(6 * 25, 10)
        self.p = p
        self.classes = list("0123456789")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.blocks(F.relu(self.bn(self.conv1(x)))), 2, ceil_mode=False)[:, :, :5, :5]
        x = F.dropout(x.flatten(1), self.p, self.training)
        return F.log_softmax(self.fc(x), dim=1)

    def class_of(self, outputs: torch.Tensor) -> list[str]:
        return [self.classes[int(each)] for each in outputs.argmax(1)]


def both(p: float = 0.0) -> tuple[Net, Any]:
    """Return a module, and an accelerated copy."""
    module = Net(p)
    return module, mnistcnn.accelerate(copy.deepcopy(module))


def runs_in_engine(net: nn.Module) -> bool:
    """Return whether a call of the module does not run its Python ``forward``."""
    called: list[bool] = []
    code = type(net).forward.__code__

    def see(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is code:
            called.append(True)

    sys.setprofile(see)
    try:
        with torch.no_grad():
            net(IMAGES)
    finally:
        sys.setprofile(None)
    return not called


def losses(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 8) -> list[float]:
    """Run a typical training loop and return the losses."""
    network.train()
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.nll_loss(network(IMAGES), LABELS)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


# ---- interface


def test_the_interface_of_the_module_is_unchanged():
    module, net = both()
    assert type(net) is Net
    assert repr(net) == repr(module)
    assert [name for name, _ in net.named_modules()] == [name for name, _ in module.named_modules()]
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in module.named_parameters()]
    assert list(net.state_dict()) == list(module.state_dict())
    assert isinstance(net.conv1, nn.Conv2d)
    assert net.blocks[0].weight.shape == (6, 4, 3, 3)
    assert (net.p, net.classes[3]) == (0.0, "3")
    assert len(net.class_of(net(IMAGES))) == len(IMAGES)
    assert mnistcnn.accelerate(net) is net
    with pytest.raises(AttributeError, match="nothing"):
        _ = net.nothing


def test_apply_with_an_initialisation_function():
    def initialise(layer: nn.Module) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.constant_(layer.weight, 0.01)
            nn.init.zeros_(layer.bias)

    module, net = both()
    module.apply(initialise)
    net.apply(initialise)
    torch.testing.assert_close(net(IMAGES), module(IMAGES))


def test_hooks_on_the_module_and_on_layers_are_called():
    module, net = both()
    seen: list[str] = []
    net.register_forward_hook(lambda *_: seen.append("whole"))
    net.eval()
    module.eval()
    net(IMAGES)
    handle = net.conv1.register_forward_hook(lambda *_: seen.append("layer"))
    with pytest.warns(mnistcnn.EngineWarning, match="runs in PyTorch.*hooks on 'conv1'"):
        outputs = net(IMAGES)
    handle.remove()
    assert seen == ["whole", "layer", "whole"]
    torch.testing.assert_close(outputs, module(IMAGES))
    torch.testing.assert_close(net(IMAGES), outputs)


def test_monte_carlo_dropout():
    """Dropout in training mode and all other layers in evaluation mode run in PyTorch."""
    _, net = both(0.5)
    net.eval()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout2d):
            layer.train()
    with pytest.warns(mnistcnn.EngineWarning, match="in another mode"):
        outputs = net(IMAGES)
    assert not torch.equal(outputs, net(IMAGES))
    assert torch.equal(net.eval()(IMAGES), net(IMAGES))


@pytest.mark.parametrize("kind", ["forward", "pre", "backward", "backward pre"])
def test_hooks_on_the_module_receive_the_module(kind: str):
    _, net = both()
    seen: list[nn.Module] = []
    register = {
        "forward": net.register_forward_hook,
        "pre": net.register_forward_pre_hook,
        "backward": net.register_full_backward_hook,
        "backward pre": net.register_full_backward_pre_hook,
    }[kind]
    register(lambda module, *_: seen.append(module))
    net(IMAGES.clone().requires_grad_()).sum().backward()
    assert seen == [net]
    assert runs_in_engine(net)
    assert "forward" not in vars(net)


def test_a_patched_forward_is_called():
    """Lightning Fabric replaces the forward of an instance."""
    _, net = both()
    given = net.forward
    net.forward = lambda x: given(x) * 0
    with pytest.warns(mnistcnn.EngineWarning, match="the model has an overridden `forward`"):
        assert not net(IMAGES).any()
    del net.forward
    assert net(IMAGES).any()


def test_images_of_another_size_run_in_torch():
    """PyTorch computes them, or raises its own error."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    larger = torch.rand(3, 1, 56, 28)
    wanted = net(larger)
    mnistcnn.accelerate(net)
    with pytest.warns(mnistcnn.EngineWarning, match=r"its images are not \[N, 1, 28, 28\]"):
        assert net(larger).equal(wanted)
    with pytest.raises(RuntimeError, match="channels"):
        net(torch.rand(3, 2, 28, 28))
    assert runs_in_engine(net)


def test_acceleration_can_be_removed():
    module, net = both()
    assert runs_in_engine(net)
    assert mnistcnn.remove_acceleration(net) is net
    assert not runs_in_engine(net)
    assert not any("mnistcnn" in name for name in vars(net))
    assert mnistcnn.remove_acceleration(module) is module


def test_a_class_that_overrides_call_raises():
    class Calls(Net):
        def __call__(self, *args: Any) -> Any:
            return super().__call__(*args) + 1

    with pytest.raises(mnistcnn.ConversionError, match="class Calls overrides __call__"):
        mnistcnn.accelerate(Calls())


def test_an_accelerated_module_inside_another():
    """An outer module can be accelerated as well. Both run in the engine."""
    inner = mnistcnn.accelerate(Net().eval())
    outer = nn.Sequential(inner, nn.Linear(10, 10)).eval()
    wanted = outer[1](inner(IMAGES))
    assert mnistcnn.accelerate(outer) is outer
    torch.testing.assert_close(outer(IMAGES), wanted)
    assert runs_in_engine(inner)


def test_attributes_with_names_of_a_model_keep_their_values():
    class Named(Net):
        def __init__(self) -> None:
            super().__init__()
            self.name, self.engine, self.rows, self.history, self.save = "mine", 3, [1], {"a": 1}, "file"

    net = mnistcnn.accelerate(Named())
    net(IMAGES)
    assert (net.name, net.engine, net.rows, net.history, net.save) == ("mine", 3, [1], {"a": 1}, "file")
    assert not hasattr(net, "summary")
    assert not hasattr(net, "device")


def test_settings_of_the_model_survive_a_new_conversion():
    _, net = both()
    model = mnistcnn.from_torch(net)
    model.engine, model.threads = "aten", 1
    assert mnistcnn.from_torch(net) is model
    net.blocks[1] = nn.Tanh()
    net(IMAGES)
    assert mnistcnn.from_torch(net) is not model
    assert (mnistcnn.from_torch(net).engine, mnistcnn.from_torch(net).threads) == ("aten", 1)


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(784, 10), nn.Linear(784, 7)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.flatten(1)
        return self.one(x), self.two(x)


def test_another_conversion_does_not_affect_the_calls():
    net = mnistcnn.accelerate(TwoOutputs())
    assert mnistcnn.from_torch(net, output=1)(IMAGES).shape == (12, 7)
    assert [each.shape[1] for each in net(IMAGES)] == [10, 7]


@pytest.mark.parametrize("how", ["engine", "hooks", "compile", "fx", "other arguments"])
@pytest.mark.filterwarnings("ignore::mnistcnn.EngineWarning")
def test_the_selected_output_is_returned_by_every_call(how: str):
    net = TwoOutputs()
    wanted = net(IMAGES)[1]
    mnistcnn.accelerate(net, output=1)
    call: Any = net
    if how == "hooks":
        net.two.register_forward_hook(lambda *_: None)
    elif how == "compile":
        call = torch.compile(net, backend="eager")
    elif how == "fx":
        call = torch.fx.symbolic_trace(nn.Sequential(net, nn.Identity()))
    outputs = call(IMAGES.unsqueeze(1)) if how == "other arguments" else call(IMAGES)
    torch.testing.assert_close(outputs, wanted)


def test_a_compiled_module():
    net = Net()
    assert mnistcnn.accelerate(torch.compile(net, backend="eager")) is net
    assert runs_in_engine(net)


@pytest.mark.parametrize("case", ["accelerated module", "zoo model", "part of a network"])
def test_a_warning_names_the_line_of_the_call(case: str):
    net: nn.Module = mnistcnn.create_model("budget_model3") if case == "zoo model" else mnistcnn.accelerate(Net())
    call: nn.Module = nn.Sequential(net) if case == "part of a network" else net
    next(each for each in net.modules() if isinstance(each, nn.Conv2d)).register_forward_hook(lambda *_: None)
    with pytest.warns(mnistcnn.EngineWarning) as caught:
        call(IMAGES)
    assert {each.filename for each in caught} == {__file__}


@pytest.mark.parametrize("use", [mnistcnn.from_torch, lambda net: mnistcnn.predict(net, IMAGES)])
def test_a_warning_of_a_conversion_names_the_line_of_the_user(use: Any):
    class Prints(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.latest = x
            return super().forward(x)

    with pytest.warns(mnistcnn.EngineWarning, match="it sets 'latest'") as caught:
        use(Prints())
    assert {each.filename for each in caught} == {__file__}


def test_a_saved_module_loads_without_the_package(tmp_path: Any):
    net = mnistcnn.accelerate(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    torch.save(net, tmp_path / "net.pt")
    code = (
        "import sys, torch; sys.modules['mnistcnn'] = None; "
        f"print(torch.load({str(tmp_path / 'net.pt')!r}, weights_only=False)(torch.zeros(2, 1, 28, 28)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "torch.Size([2, 10])", done.stderr


def test_switching_an_attribute_switches_between_models():
    """Each state is converted once; at most eight conversions are cached."""

    class Switched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.power = nn.Linear(784, 10), 1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.fc(x.flatten(1))
            for _ in range(self.power):
                x = torch.tanh(x)
            return x

    net = mnistcnn.accelerate(Switched())
    models = []
    for power in (1, 2, 1, 2, *range(3, 12)):
        net.power = power
        torch.testing.assert_close(net(IMAGES), net.forward(IMAGES))
        assert runs_in_engine(net)
        models.append(mnistcnn.from_torch(net))
    assert models[0] is models[2]
    assert models[1] is models[3]
    assert len(vars(net)["_mnistcnn"].conversions) == 8


# ---- training


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_losses_match_pytorch(kind: Any):
    module, net = both()
    desired = losses(module, kind(module.parameters(), lr=0.01))
    actual = losses(net, kind(net.parameters(), lr=0.01))
    torch.testing.assert_close(actual, desired, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(net.bn.running_var, module.bn.running_var, rtol=1e-3, atol=1e-4)
    assert net.bn.num_batches_tracked.item() == 8


def test_an_optimizer_created_before_accelerate():
    module, twin = Net(), Net()
    twin.load_state_dict(module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    losses(module, optimizer, 2)
    actual = losses(mnistcnn.accelerate(module), optimizer, 4)
    desired = losses(twin, torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9), 6)[2:]
    torch.testing.assert_close(actual, desired, rtol=1e-3, atol=1e-5)


def test_gradient_accumulation_and_frozen_parameters():
    module, net = both()
    for network in (module, net):
        network.conv1.weight.requires_grad_(False)
        for part in (IMAGES[:7], IMAGES[7:]):
            F.nll_loss(network(part), LABELS[: len(part)], reduction="sum").backward()
        assert network.conv1.weight.grad is None
        assert network.unused.weight.grad is None
    for actual, desired in zip(net.parameters(), module.parameters(), strict=True):
        if desired.grad is not None:
            torch.testing.assert_close(actual.grad, desired.grad, rtol=1e-3, atol=1e-4)


def test_input_gradients_and_no_grad():
    module, net = both()
    grads = []
    for network in (module.eval(), net.eval()):
        images = IMAGES.clone().requires_grad_()
        network(images)[:, 3].sum().backward()
        grads.append(images.grad)
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        assert not net(IMAGES).requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(net(IMAGES[:1]), module(IMAGES[:1]))


def test_dropout_follows_the_manual_seed():
    _, net = both(0.5)
    torch.manual_seed(3)
    first = net(IMAGES)
    second = net(IMAGES)
    torch.manual_seed(3)
    assert torch.equal(net(IMAGES), first)
    assert not torch.equal(second, first)


def test_changes_to_the_module_take_effect():
    module, net = both()
    for network in (module, net):
        network.blocks[1] = nn.Tanh()
        network.bn.momentum = 0.5
        network.train()
        network(IMAGES)
        network.eval()
    torch.testing.assert_close(net.bn.running_mean, module.bn.running_mean)
    torch.testing.assert_close(net(IMAGES), module(IMAGES))


def test_an_overridden_train_method_is_respected():
    class Frozen(Net):
        def train(self, mode: bool = True) -> nn.Module:
            super().train(mode)
            self.bn.eval()
            return self

    net = mnistcnn.accelerate(Frozen())
    with pytest.warns(mnistcnn.EngineWarning, match="in another mode"):
        net.train()(IMAGES)
    assert net.bn.num_batches_tracked.item() == 0


# ---- files and copies


def test_state_dicts_load_in_both_directions():
    module, net = both()
    losses(net, torch.optim.SGD(net.parameters(), lr=0.1), 2)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    module.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(module.eval()(IMAGES), net.eval()(IMAGES))
    other = mnistcnn.accelerate(Net()).eval()
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(IMAGES), net(IMAGES))
    assert not net.load_state_dict(Net().state_dict(), assign=True).missing_keys
    torch.testing.assert_close(net(IMAGES), net.forward(IMAGES))


class CopiesItsDictionary(Net):
    """Network whose ``__getstate__`` returns the whole dictionary."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__


@pytest.mark.parametrize("kind", [Net, CopiesItsDictionary])
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(copier: Any, kind: type[Net]):
    """Copies run in PyTorch until they are accelerated."""
    net = mnistcnn.accelerate(kind(0.2))
    losses(net, torch.optim.SGD(net.parameters(), lr=0.1), 2)
    copied = copier(net.eval())
    assert type(copied) is kind
    assert not copied.training
    assert not runs_in_engine(copied)
    torch.testing.assert_close(copied(IMAGES), net(IMAGES), rtol=1e-4, atol=1e-5)
    mnistcnn.accelerate(copied)
    assert runs_in_engine(copied)
    assert copied(IMAGES).equal(net(IMAGES))
    with torch.no_grad():
        copied.fc.weight.zero_()
    assert net.fc.weight.abs().sum() > 0


def test_devices_and_dtypes():
    module, net = both()
    assert net.to("cpu") is net
    assert net.float() is net
    torch.testing.assert_close(net(IMAGES), module(IMAGES))
    with pytest.warns(mnistcnn.EngineWarning, match=r"'conv1\.weight' is not an ordinary float32 tensor"):
        assert net.double()(IMAGES.double()).dtype == torch.float64
    assert runs_in_engine(net.float())


# ---- exactness, threads, processes


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_gradients_of_random_graphs(seed: int):
    """Convert random models to torch.nn and back, and compare their gradients with float64."""
    graph = random_graph(seed)
    model = mnistcnn.Model(graph.layers, graph.input_shape, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    stir(model, generator)  # with a norm's bias of 0, equal inputs would be at the kink of an activation
    module = model.to_torch()
    for layer in module.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.p = 0.0
    if not list(module.parameters()):
        pytest.skip("has nothing to train")
    exact, single = copy.deepcopy(module).double(), copy.deepcopy(module)
    net = mnistcnn.accelerate(module, graph.input_shape)
    images = torch.randn(graph.batch, *graph.input_shape, generator=generator)
    weights = torch.randn(graph.batch, *model.output_shape, generator=generator)
    found = []
    for network in (net, exact, single):
        leaf = images.clone().to(next(network.parameters()).dtype).requires_grad_()
        (network(leaf) * weights).sum().backward()
        grads = [parameter.grad for parameter in network.parameters()]
        found.append([leaf.grad, *(torch.zeros(1) if each is None else each for each in grads)])
    longest = max(length(each) for each in found[1])
    noise = max(distance(a, b) for a, b in zip(found[2], found[1], strict=True))
    for actual, desired in zip(found[0], found[1], strict=True):
        allowed = 2e-5 * length(desired) + 1e-5 * longest + 1e-6 * length(weights) + 12 * noise
        assert distance(actual, desired) <= allowed, f"seed {seed}"


def test_two_nets_in_two_threads():
    nets = [mnistcnn.accelerate(Net()) for _ in range(2)]
    twins = [copy.deepcopy(net) for net in nets]

    def trained(net: nn.Module) -> list[float]:
        return losses(net, torch.optim.SGD(net.parameters(), lr=0.05), 10)

    found = run_in_threads([partial(trained, net) for net in nets])
    for ours, twin in zip(found, twins, strict=True):
        torch.testing.assert_close(ours, trained(twin), rtol=2e-3, atol=1e-4)


def test_two_conversions_in_two_threads():
    names = [name for name in NETWORKS if name != "OddPools"]
    random.Random(1).shuffle(names)

    def work(part: list[str]) -> None:
        for name in part:
            module = NETWORKS[name]()
            if name not in ("LeNet32", "ColourImages"):
                mnistcnn.accelerate(module)

    run_in_threads([partial(work, names[start:30:2]) for start in range(2)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_use():
    """The workers of a torch DataLoader are forked. The child process can call the module as well."""
    _, net = both()
    net.eval()
    wanted = net(IMAGES)
    data = torch.utils.data.TensorDataset(IMAGES, LABELS)
    loader = torch.utils.data.DataLoader(data, batch_size=6, num_workers=1, multiprocessing_context="fork", timeout=60)
    for images, _ in loader:
        net(images)
    assert succeeds_in_forked_child(lambda: torch.equal(net(IMAGES), wanted), seconds=60)


@pytest.mark.parametrize("work", ["", "accelerated(images).sum().backward()", "mnistcnn.train(model, data, epochs=1)"])
def test_torch_dynamo_is_not_imported(work: str) -> None:
    script = f"""
import sys, torch, mnistcnn
data = mnistcnn.ImageSet.from_arrays(torch.zeros(32, 1, 28, 28, dtype=torch.uint8).numpy(), [0, 1] * 16)
images = torch.zeros(2, 1, 28, 28)
model = mnistcnn.create_model("budget_model3", seed=1)
accelerated = mnistcnn.accelerate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)))
{work}
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
