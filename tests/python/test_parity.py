"""All published networks equal torch.nn: outputs, gradients, running statistics, training runs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mnistcnn
from reference import ENGINES, Twin, distance, length, pixels_as_input, without_dropout
from runs import random_set

pytestmark = pytest.mark.usefixtures("torch_randomness_restored")

NAMES = mnistcnn.list_models()
BIG = {"assignment7_model1": 3, "era5_net": 6, "recognition_cnn": 8}  # batch sizes; 16 for all other networks
every_network = pytest.mark.parametrize("name", NAMES)

# RELATIVE: error relative to the Euclidean norm of a tensor. float32 rounds at 6e-8; a few hundred roundings stay below
# 1e-5. ROUNDING: error of a gradient that is exactly 0 (a bias before batch norm) and consists of rounding errors only,
# relative to the largest gradient of its network.
RELATIVE, ROUNDING = 1e-5, 1e-6


def _pair(name: str, engine: str) -> tuple[mnistcnn.Model, Twin]:
    """Return a network without dropout and the same network in torch.nn, with weights drawn by PyTorch."""
    torch.manual_seed(len(name))
    model = without_dropout(mnistcnn.create_model(name))
    model.engine = engine
    twin = Twin(model)
    for module in twin.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    with torch.no_grad():
        for key, tensor in twin.state_dict().items():
            if key.endswith(("running_mean", "running_var")):
                tensor.add_(torch.rand(tensor.shape))
    model.load_state_dict(twin.state_dict())
    return model, twin


def _noise(count: int) -> mnistcnn.ImageSet:
    """Return images of noise: on a plain background, rounding errors would decide between equal maxima."""
    return random_set(count, seed=count, size=28)


def _batch_size(name: str) -> int:
    return BIG.get(name, 16)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


def _step(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run one forward and backward pass; return outputs, gradients and buffers."""
    leaf = images.clone().requires_grad_()
    outputs = network(leaf)
    F.cross_entropy(outputs, labels).backward()
    found = {"outputs": outputs.detach(), "gradient of the images": leaf.grad}
    found |= {f"gradient of {name}": parameter.grad for name, parameter in network.named_parameters()}
    return found | {name: buffer.clone().double() for name, buffer in network.named_buffers()}


@every_network
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_outputs_gradients_and_running_statistics(name: str, training: bool, engine: str):
    model, twin = _pair(name, engine)
    exact = copy.deepcopy(twin).double()
    data = _noise(_batch_size(name))
    images, labels = pixels_as_input(model, data.images), torch.tensor(data.labels)
    ours, theirs, truth = (
        _step(network.train(training), images.to(dtype), labels)
        for network, dtype in ((model, torch.float32), (twin, torch.float32), (exact, torch.float64))
    )
    assert list(ours) == list(theirs) == list(truth)
    longest = max(length(tensor) for key, tensor in theirs.items() if key.startswith("gradient"))
    for key, wanted in theirs.items():
        floor = ROUNDING * longest if key.startswith("gradient") else 0
        assert distance(ours[key], wanted) <= RELATIVE * length(wanted) + floor, key
        # The error to float64 is at most twice that of torch.nn in float32, plus the tolerance.
        error = distance(theirs[key], truth[key])
        assert distance(ours[key], truth[key]) <= 2 * error + RELATIVE * length(truth[key]) + floor, key


@every_network
def test_uint8_pixels_are_normalized(name: str, engine: str):
    model, twin = _pair(name, engine)
    images = _noise(2).images
    with torch.no_grad():
        wanted = twin.eval()(pixels_as_input(model, images))
        assert distance(model.eval()(images), wanted) <= RELATIVE * length(wanted)
        assert distance(torch.tensor(mnistcnn.predict(model, images)), _probabilities(model, wanted)) <= 1e-5


def _probabilities(model: mnistcnn.Model, outputs: torch.Tensor) -> torch.Tensor:
    return outputs.exp() if model.outputs == "log_probabilities" else outputs.softmax(1)


# ---- ten steps of native training, compared with torch.optim.SGD


def _smoothed_loss(outputs: torch.Tensor, labels: torch.Tensor, loss: str, smoothing: float) -> torch.Tensor:
    """Return the mean of the smoothed loss over the batch."""
    log_probabilities = outputs.log_softmax(1) if loss == "cross_entropy" else outputs
    targets = torch.full_like(outputs, smoothing / outputs.shape[1])
    targets[torch.arange(len(labels)), labels] += 1 - smoothing
    return -(targets * log_probabilities).sum(1).mean()


def _torch_loop(
    twin: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: int,
    loss: str,
    smoothing: float = 0.0,
) -> list[float]:
    losses = []
    twin.train()
    for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        optimizer.zero_grad()
        value = _smoothed_loss(twin(x), y, loss, smoothing)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def _check_ten_steps(
    engine: str, name: str, options: dict[str, Any], *, loss: str = "auto", smoothing: float = 0.0
) -> None:
    """Compare `mnistcnn.train` with torch.optim on ten batches, the last one smaller."""
    model, twin = _pair(name, engine)
    batch_size = _batch_size(name)
    data = _noise(9 * batch_size + (batch_size + 1) // 2)
    start = {key: value.clone() for key, value in twin.named_parameters()}
    history = mnistcnn.train(
        model,
        data,
        epochs=1,
        batch_size=batch_size,
        shuffle=False,
        optimizer=mnistcnn.optim.SGD(**options),
        loss=loss,
        label_smoothing=smoothing,
        progress=False,
    )
    losses = _torch_loop(
        twin,
        pixels_as_input(model, data.images),
        torch.tensor(data.labels),
        torch.optim.SGD(twin.parameters(), **options),
        batch_size=batch_size,
        loss="nll" if model.outputs == "log_probabilities" and loss == "auto" else "cross_entropy",
        smoothing=smoothing,
    )
    assert len(history.step_losses) == len(losses) == 10
    assert history.step_losses == pytest.approx(losses, rel=1e-4)
    sizes = [batch_size] * 9 + [(batch_size + 1) // 2]
    assert history.last.train_loss == pytest.approx(np.average(losses, weights=sizes), rel=1e-5)
    _check_updates(model, twin, start)


def _check_updates(model: mnistcnn.Model, twin: Twin, start: dict[str, torch.Tensor]) -> None:
    """Check that the update of each tensor over ten steps is the same.

    Rounding may change the sign of a ReLU's input or the position of a maximum. The learning rates are small, so that
    later steps do not amplify this. Since a single such element is visible, the tolerance is 3e-2 of the norm of the
    update: after ten steps, PyTorch's float32 differs by 1.5e-2 from float64 in a tensor of assignment7_model2,
    although the gradients of each batch, computed at the same weights, differ by 2e-6. Added to it are 1e-6 of the norm
    of the tensor, for rounding of the weights (ten times 6e-8), and 1e-4 of the largest update, for tensors that hardly
    change. Running statistics follow the weights, with a tolerance of 1e-4. Gradients and statistics of single batches
    are compared with 1e-5 in another test.
    """
    updates = {key: distance(parameter, start[key]) for key, parameter in twin.named_parameters()}
    longest = max(updates.values())
    assert longest > 1e-4  # the weights have changed
    for key, parameter in twin.named_parameters():
        allowed = 3e-2 * updates[key] + 1e-6 * length(parameter) + 1e-4 * longest
        assert distance(model.get_parameter(key), parameter) <= allowed, key
    for key, buffer in twin.named_buffers():
        assert distance(model.get_buffer(key), buffer) <= 1e-4 * length(buffer), key


@every_network
def test_ten_steps_of_training(name: str, engine: str):
    _check_ten_steps(engine, name, {"lr": 2e-4, "momentum": 0.9})


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 2e-4},
        {"lr": 2e-4, "weight_decay": 0.1},
        {"lr": 2e-4, "momentum": 0.9, "nesterov": True},
        {"lr": 2e-4, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"lr": 2e-4, "momentum": 0.9, "dampening": 0.5},
        {"lr": 2e-4, "momentum": 0.5, "dampening": 0.1, "weight_decay": 0.1},
        {"lr": 2e-4, "dampening": 0.5},
    ],
    ids=lambda options: "-".join(options),
)
@pytest.mark.parametrize("name", ["session7_net", "budget_model2"])
def test_ten_steps_with_options_of_sgd(name: str, options: dict[str, Any], engine: str):
    _check_ten_steps(engine, name, options)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(
    ("name", "loss"),
    [("session7_net", "auto"), ("session7_net", "cross_entropy"), ("budget_model1", "auto")],
)
def test_ten_steps_with_each_loss(name: str, loss: str, smoothing: float, engine: str):
    _check_ten_steps(engine, name, {"lr": 2e-4, "momentum": 0.9}, loss=loss, smoothing=smoothing)


def test_formula_of_the_smoothed_loss_equals_torch():
    """Check the reference formula used in this file."""
    outputs = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 9, 9, 1])
    for smoothing in (0.0, 0.1, 1.0):
        ours = _smoothed_loss(outputs, labels, "cross_entropy", smoothing)
        torch.testing.assert_close(ours, F.cross_entropy(outputs, labels, label_smoothing=smoothing))
    ours = _smoothed_loss(outputs.log_softmax(1), labels, "nll", 0.0)
    torch.testing.assert_close(ours, F.nll_loss(outputs.log_softmax(1), labels))


def test_momentum_is_kept_between_epochs(engine: str):
    """Two epochs of five batches equal ten steps of one optimizer."""
    model, twin = _pair("budget_model1", engine)
    data = _noise(80)
    start = {key: value.clone() for key, value in twin.named_parameters()}
    optimizer = mnistcnn.optim.SGD(lr=2e-4, momentum=0.9)
    mnistcnn.train(model, data, epochs=2, batch_size=16, shuffle=False, optimizer=optimizer, progress=False)
    x, y = pixels_as_input(model, data.images), torch.tensor(data.labels)
    torch_optimizer = torch.optim.SGD(twin.parameters(), lr=2e-4, momentum=0.9)
    for _ in range(2):
        _torch_loop(twin, x, y, torch_optimizer, batch_size=16, loss="cross_entropy")
    _check_updates(model, twin, start)
