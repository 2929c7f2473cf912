"""A Model is a torch.nn.Module: parameters, state dicts, copies, hooks, autograd and training loops."""

from __future__ import annotations

import copy
import io
import math
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mnistcnn
from flat import buffers_of, values_of
from isolated import run_in_threads
from mnistcnn.layers import BatchNorm2d, Conv2d, Dropout, Dropout2d, Flatten, Linear, LogSoftmax, ReLU
from reference import ENGINES, Twin, distance, dropout_mask, length, without_dropout

pytestmark = pytest.mark.usefixtures("torch_randomness_restored")

IMAGES = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([3, 1, 4, 1, 5, 9])


@pytest.fixture(params=ENGINES)
def model(request: pytest.FixtureRequest) -> mnistcnn.Model:
    """Return a network with convolutions, batch norms, biases and dropout of probability 0."""
    made = without_dropout(mnistcnn.create_model("budget_model3", seed=2))
    made.engine = request.param
    return made


def loss_of(network: torch.nn.Module, images: torch.Tensor = IMAGES, labels: torch.Tensor = LABELS) -> torch.Tensor:
    return F.cross_entropy(network(images), labels)


def gradients(network: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters()]


def near(ours: list[torch.Tensor], theirs: list[torch.Tensor], relative: float = 1e-5) -> bool:
    """Compare each tensor relative to its norm.

    Gradients of biases before a batch norm are rounding errors; they are compared relative to the largest norm.
    """
    longest = max(length(each) for each in theirs)
    pairs = zip(ours, theirs, strict=True)
    return all(distance(a, b) <= relative * length(b) + 1e-6 * longest for a, b in pairs)


# ---- tensors


def test_tensors_are_ordinary_parameters_and_buffers(model: mnistcnn.Model):
    """Each tensor has its own storage, as safetensors and other tools require."""
    memory = []
    for name, parameter in model.named_parameters():
        assert type(parameter) is torch.nn.Parameter, name
        assert (parameter.is_leaf, parameter.requires_grad, parameter.is_contiguous()) == (True, True, True), name
        memory.append(parameter.untyped_storage())
    memory += [buffer.untyped_storage() for buffer in model.buffers()]
    assert len({each.data_ptr() for each in memory}) == len(memory)
    sizes = [4 * each.numel() for each in model.parameters()]
    assert [each.nbytes() for each in memory][: len(sizes)] == sizes


def test_engine_reads_values_written_into_parameters(model: mnistcnn.Model):
    model.eval()
    with torch.no_grad():
        before = model(IMAGES)
        model.conv1.weight.zero_()
        model.bn5.bias.add_(1)
        assert not torch.equal(model(IMAGES), before)
        torch.testing.assert_close(model(IMAGES), Twin(model)(IMAGES))


def test_engine_reads_replaced_parameters(model: mnistcnn.Model):
    model.conv1.weight = torch.nn.Parameter(torch.full((4, 1, 3, 3), 0.25))
    model.bn1.running_mean = torch.full((4,), 0.5)
    twin = Twin(model).eval()
    torch.testing.assert_close(model.eval()(IMAGES), twin(IMAGES))


def test_error_names_a_parameter_of_another_shape(model: mnistcnn.Model):
    model.conv1.weight = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError, match=r"'conv1.weight'.*\[4, 1, 3, 3\]"):
        mnistcnn.predict(model, IMAGES)


@pytest.mark.parametrize(
    "parameter",
    [torch.nn.Parameter(torch.zeros(4, 1, 3, 3).half()), torch.nn.UninitializedParameter(), None],
    ids=["type", "subclass", "removed"],
)
def test_error_names_a_parameter_that_is_not_float32(parameter: Any, model: mnistcnn.Model):
    """A call falls back to PyTorch, which raises an error; a native run raises ValueError."""
    model.conv1.weight = parameter
    with (
        pytest.warns(mnistcnn.EngineWarning, match=r"'conv1\.weight'.* float32"),
        pytest.raises((RuntimeError, TypeError, ValueError)),
    ):
        model(IMAGES)
    with pytest.raises(ValueError, match=r"engine: 'conv1\.weight'.* float32"):
        mnistcnn.predict(model, IMAGES)


def test_error_names_a_parameter_without_storage(model: mnistcnn.Model):
    model.conv1.weight.untyped_storage().resize_(8)
    with torch.no_grad(), pytest.raises(ValueError, match=r"'conv1\.weight'.* storage"):
        model(IMAGES)


def test_outputs_with_a_parameter_that_is_not_contiguous(model: mnistcnn.Model):
    model.eval()
    before = model(IMAGES)
    model.conv2.weight = torch.nn.Parameter(model.conv2.weight.detach().transpose(2, 3).contiguous().transpose(2, 3))
    assert not model.conv2.weight.is_contiguous()
    after = model(IMAGES)
    assert after.equal(before)
    after.sum().backward()
    assert model.conv2.weight.grad.shape == model.conv2.weight.shape


# ---- module tree


def test_module_tree():
    model = mnistcnn.create_model("session7_net")
    names = dict(model.named_modules())
    assert names[""] is model
    assert names["convblock1.0"] is model.get_submodule("convblock1.0") is model.convblock1._modules["0"]
    assert [name for name, _ in model.named_children()][:2] == ["convblock1", "convblock2"]
    assert sum(len(list(module.parameters(recurse=False))) for module in model.modules()) == len(
        list(model.parameters())
    )
    assert "7,596 parameters" in repr(model)


def test_hooks_of_the_model(model: mnistcnn.Model):
    seen: list[str] = []
    model.register_forward_pre_hook(lambda *_: seen.append("before"))
    model.register_forward_hook(lambda *_: seen.append("after"))
    model.register_full_backward_hook(lambda *_: seen.append("backward"))
    handle = model.conv1.weight.register_hook(lambda gradient: 2 * gradient)
    images = IMAGES.clone().requires_grad_()
    loss_of(model, images).backward()
    doubled = model.conv1.weight.grad.clone()
    handle.remove()
    assert seen == ["before", "after", "backward"]
    model.zero_grad()
    loss_of(model, images).backward()
    torch.testing.assert_close(doubled, 2 * model.conv1.weight.grad)


@pytest.mark.parametrize("name", ["train", "eval", "forward", "name", "seed", "parameters", "history", "_layers"])
def test_error_for_layer_names_that_are_attributes_of_a_model(name: str):
    with pytest.raises(ValueError, match=f"layer.* '{name}'.* attribute '{name}'"):
        mnistcnn.Model({name: Conv2d(2, 3)})


@pytest.mark.parametrize("name", ["weight", "conv 1", "übung", "0", "None"])
def test_unusual_layer_names(name: str):
    model = mnistcnn.Model({name: Conv2d(2, 3), "flatten": Flatten()})
    assert list(model.state_dict()) == [f"{name}.weight", f"{name}.bias"]
    assert model(IMAGES).shape == (6, 2 * 26 * 26)


# ---- state dict


def test_state_dict_round_trip(model: mnistcnn.Model):
    loss_of(model)  # updates the running statistics
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    other = without_dropout(mnistcnn.create_model("budget_model3", seed=9))
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert torch.equal(values_of(other), values_of(model))
    assert torch.equal(buffers_of(other), buffers_of(model))
    torch.testing.assert_close(other.eval()(IMAGES), model.eval()(IMAGES))
    assert other.bn1.num_batches_tracked == 1


def test_load_state_dict_assign(model: mnistcnn.Model):
    source = Twin(without_dropout(mnistcnn.create_model("budget_model3", seed=9)))
    state = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    model.load_state_dict(state, assign=True)
    torch.testing.assert_close(model.eval()(IMAGES), source.eval()(IMAGES))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    optimizer.step()
    torch.testing.assert_close(model.eval()(IMAGES), Twin(model).eval()(IMAGES))


def test_load_state_dict_is_strict(model: mnistcnn.Model):
    state = model.state_dict()
    incomplete = {name: tensor for name, tensor in state.items() if name != "conv1.bias"}
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "conv1.bias"'):
        model.load_state_dict(incomplete)
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "other"'):
        model.load_state_dict({**state, "other": torch.zeros(1)})
    with pytest.raises(RuntimeError, match=r"size mismatch for conv1.bias"):
        model.load_state_dict({**state, "conv1.bias": torch.zeros(5)})
    assert model.load_state_dict(incomplete, strict=False).missing_keys == ["conv1.bias"]


def test_torch_save_and_load_of_the_state_dict(model: mnistcnn.Model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = mnistcnn.create_model("budget_model3", seed=9)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(values_of(other), values_of(model))


# ---- copies


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_equal_and_independent(copier: Any, model: mnistcnn.Model):
    model.conv2.weight.requires_grad_(False)
    loss_of(model)
    model.eval()
    twin = copier(model)
    assert type(twin) is mnistcnn.Model
    assert (twin.name, twin.seed, twin.normalization) == (model.name, model.seed, model.normalization)
    assert (twin.training, twin.conv2.weight.requires_grad, twin.conv1.weight.requires_grad) == (False, False, True)
    torch.testing.assert_close(twin(IMAGES), model(IMAGES))
    with torch.no_grad():
        twin.conv1.weight.zero_()
        twin.bn1.running_mean.zero_()
    assert model.conv1.weight.abs().sum() > 0
    assert model.bn1.running_mean.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_conversion_to_another_dtype_raises_and_changes_nothing(dtype: torch.dtype, model: mnistcnn.Model):
    before = values_of(model)
    with pytest.raises(TypeError, match=r"supports only torch\.float32, got torch\."):
        model.to(dtype)
    assert model.conv1.weight.dtype == torch.float32
    assert torch.equal(values_of(model), before)
    loss_of(model).backward()


def test_half_and_double_raise(model: mnistcnn.Model):
    for convert in (model.half, model.double, model.bfloat16):
        with pytest.raises(TypeError, match=r"supports only torch\.float32, got torch\."):
            convert()
    assert model.float() is model


def test_to_cpu_keeps_parameters_gradients_and_optimizers(model: mnistcnn.Model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    weight, gradient = model.conv1.weight, model.conv1.weight.grad
    assert model.to("cpu") is model
    assert model.cpu().device == torch.device("cpu")
    assert model.conv1.weight is weight
    torch.testing.assert_close(weight.grad, gradient)
    before = values_of(model)
    optimizer.step()
    assert not torch.equal(values_of(model), before)


# ---- training loops in PyTorch


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.002, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.AdamW(parameters, lr=1e-4, eps=1e-3),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=1e-5, eps=1e-2),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_twenty_steps_of_torch_optim_equal_those_of_a_torch_module(kind: str, model: mnistcnn.Model):
    """The tolerance of 1e-4 allows kernels that sum in another order."""
    twin = Twin(model)
    losses: list[list[float]] = []
    for network in (model, twin):
        optimizer = OPTIMIZERS[kind](network.parameters())
        losses.append([])
        for _ in range(20):
            optimizer.zero_grad()
            loss = loss_of(network)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0]
    assert near(list(model.state_dict().values()), list(twin.state_dict().values()), 1e-4)


def test_gradients_accumulate(model: mnistcnn.Model):
    twin = Twin(model)
    for network in (model, twin):
        for part in (slice(0, 2), slice(2, 6)):
            loss_of(network, IMAGES[part], LABELS[part]).backward()
    assert near(gradients(model), gradients(twin))


@pytest.mark.parametrize("training", [True, False])
def test_two_forwards_before_their_backwards(training: bool, model: mnistcnn.Model):
    """The first forward pass is repeated for its backward pass; this must not update the running statistics."""
    twin = Twin(model)
    for network in (model.train(training), twin.train(training)):
        first, second = loss_of(network), loss_of(network, IMAGES.flip(0))
        first.backward()
        second.backward()
    assert near(gradients(model), gradients(twin))
    assert near([each.double() for each in model.buffers()], [each.double() for each in twin.buffers()])


def test_backward_uses_the_dropout_mask_of_its_forward():
    model = mnistcnn.Model([Dropout(0.5), Flatten(), Linear(10, bias=False)])
    first, second = model(IMAGES), model(IMAGES)
    assert not torch.equal(first, second)
    first[0, 0].backward()  # its gradient is the masked image
    torch.testing.assert_close(first[0, 0], (model._modules["2"].weight.grad[0] * model._modules["2"].weight[0]).sum())


def test_two_calls_in_one_graph(model: mnistcnn.Model):
    twin = Twin(model)
    for network in (model, twin):
        (loss_of(network) + 3 * loss_of(network, 2 * IMAGES)).backward()
    assert near(gradients(model), gradients(twin))


def test_retained_graph(model: mnistcnn.Model):
    loss = loss_of(model)
    loss.backward(retain_graph=True)
    once, statistics = gradients(model), [buffer.clone() for buffer in model.buffers()]
    loss.backward()
    assert near(gradients(model), [2 * each for each in once])
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), statistics, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_second_derivatives_with_dropout_raise(model: mnistcnn.Model):
    images = IMAGES.clone().requires_grad_()
    with pytest.raises(RuntimeError, match=r"second derivatives.* dropout"):
        torch.autograd.grad(loss_of(model, images), images, create_graph=True)


@pytest.mark.parametrize("change", ["weight", "images", "native training"])
def test_change_between_forward_and_backward_raises(change: str, model: mnistcnn.Model, digits: Any):
    images = IMAGES.clone()
    loss = loss_of(model, images)
    if change == "weight":
        with torch.no_grad():
            model.conv3.weight.mul_(2)
    elif change == "images":
        images.mul_(2)
    else:
        mnistcnn.train(model, digits[1][:32], epochs=1, progress=False)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_evaluation_between_forward_and_backward_is_allowed(model: mnistcnn.Model, digits: Any):
    twin = Twin(model)
    loss = loss_of(model)
    mnistcnn.test(model, digits[1][:40], progress=False)
    with torch.no_grad():
        model.eval()(IMAGES[:2])
    loss.backward()
    loss_of(twin).backward()
    assert near(gradients(model), gradients(twin))


def test_frozen_parameters_get_no_gradients(model: mnistcnn.Model):
    model.conv1.requires_grad_(False)
    loss_of(model).backward()
    assert model.conv1.weight.grad is None
    assert model.conv2.weight.grad is not None
    assert not loss_of(model.requires_grad_(False)).requires_grad


def test_native_training_does_not_change_frozen_parameters(model: mnistcnn.Model, digits: Any):
    model.conv1.requires_grad_(False)
    model.bn3.bias.requires_grad_(False)
    frozen = {"conv1.weight", "conv1.bias", "bn3.bias"}
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = mnistcnn.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.1)
    mnistcnn.train(model, digits[1][:96], epochs=1, batch_size=32, optimizer=optimizer, progress=False)
    unchanged = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert unchanged == frozen
    assert model.summary().trainable_parameters == model.parameter_count - 52


def test_no_grad_and_eval(model: mnistcnn.Model):
    model.eval()
    with torch.no_grad():
        assert not model(IMAGES).requires_grad
    with torch.inference_mode():
        assert model(IMAGES).is_inference()
    statistics = [buffer.clone() for buffer in model.buffers()]
    torch.testing.assert_close(model(IMAGES), Twin(model)(IMAGES))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), statistics, strict=True))
    many = IMAGES.repeat(400, 1, 1, 1)  # more than one chunk
    with torch.no_grad():
        torch.testing.assert_close(model(many)[-6:], model(IMAGES))


def test_training_mode_without_gradients_updates_running_statistics(model: mnistcnn.Model):
    twin = Twin(model)
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), twin(IMAGES))
    torch.testing.assert_close(model.bn1.running_mean, twin.bn1.running_mean)
    assert model.bn1.num_batches_tracked == 1


@pytest.mark.parametrize("training", [True, False])
def test_input_gradients(training: bool, model: mnistcnn.Model):
    twin = Twin(model)
    found = []
    for network in (model.train(training), twin.train(training)):
        images = IMAGES.double().requires_grad_()  # float64: the conversion is part of the graph
        loss_of(network, images.float() if network is twin else images).backward()
        found.append(images.grad)
    assert near(found[:1], found[1:])


def test_input_gradients_of_a_frozen_network(model: mnistcnn.Model):
    model.requires_grad_(False)
    images = IMAGES.clone().requires_grad_()
    loss_of(model, images).backward()
    assert images.grad.abs().sum() > 0


# ---- inputs


def test_uint8_and_float_arrays_and_tensors(model: mnistcnn.Model):
    """Equal pixels give equal outputs in all formats; 1e-5 covers the rounding of the normalization."""
    model.eval()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 28, 28), dtype=np.uint8)
    normalized = (pixels / 255 - 0.1307) / 0.3081  # float64
    read_only = pixels.copy()
    read_only.flags.writeable = False
    flipped = np.ascontiguousarray(pixels[:, :, ::-1, ::-1])
    inputs: list[Any] = [
        *(pixels, read_only, torch.from_numpy(pixels), flipped[:, :, ::-1, ::-1]),
        *(np.asfortranarray(pixels), torch.from_numpy(np.asfortranarray(pixels))),
        *(normalized, normalized.astype(np.float32), normalized.astype(">f4"), torch.from_numpy(normalized)),
        torch.from_numpy(normalized).float().to(memory_format=torch.channels_last),
    ]
    with torch.no_grad():
        for number, images in enumerate(inputs):
            torch.testing.assert_close(model(images), model(pixels), rtol=1e-5, atol=1e-5, msg=f"input {number}")
        for images in (normalized.astype(np.float16), torch.from_numpy(normalized).half()):
            # The rounded input is converted to float32.
            assert model(images).dtype == torch.float32
            torch.testing.assert_close(model(images), model(np.float32(np.float16(normalized))))


@pytest.mark.parametrize(
    ("images", "error", "text"),
    [
        (torch.zeros(2, 1, 28, 27), ValueError, r"takes images \[N, 1, 28, 28\], got \[2, 1, 28, 27\]"),
        (torch.zeros(1, 28, 28), ValueError, r"add the batch dimension: images\[None\]"),
        (torch.zeros(5, 28, 28), ValueError, r"add the channel dimension: images\[:, None\]"),
        (torch.zeros(2, 28, 28, 1), ValueError, r"numpy\.moveaxis\(images, -1, 1\)"),
        (torch.zeros(2, 32, 32, 3), ValueError, r"numpy\.moveaxis\(images, -1, 1\)"),
        (torch.zeros(5, 32, 32), ValueError, "resize the images to 28x28"),
        (torch.zeros(5, 1, 32, 32), ValueError, "resize the images to 28x28"),
        (torch.zeros(5, 784), ValueError, r"images\.reshape\(-1, 1, 28, 28\)"),
        (torch.zeros(784), ValueError, r"images\.reshape\(-1, 1, 28, 28\)"),
        (torch.zeros(5, 3, 28, 28), ValueError, "convert the images to grey"),
        (torch.zeros(5, 4, 28, 28), ValueError, r"got \[5, 4, 28, 28\]$"),
        (
            torch.zeros(2, 1, 28, 28, dtype=torch.int64),
            TypeError,
            r"must be uint8 or floating point, got torch.int64; .*\.astype\(numpy\.uint8\)",
        ),
        (np.zeros((2, 1, 28, 28), bool), TypeError, r"must be uint8 or floating point, got torch.bool"),
    ],
)
def test_error_for_invalid_images(images: Any, error: type[Exception], text: str, model: mnistcnn.Model):
    with pytest.raises(error, match=text):
        model(images)


def test_error_for_batch_norm_of_a_single_value(model: mnistcnn.Model):
    with pytest.raises(ValueError, match=r"'bn5' .*\[10, 1, 1\].* 1.*larger batch"):
        model(IMAGES[:1])
    loss_of(model).backward()  # the model still works afterwards
    assert model.eval()(IMAGES[:1]).shape == (1, 10)


# ---- dropout


def test_manual_seed_determines_dropout_masks():
    model = mnistcnn.create_model("assignment7_model4")

    def outputs(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return model(IMAGES)

    assert torch.equal(outputs(1), outputs(1))
    assert not torch.equal(outputs(1), outputs(2))


@pytest.mark.parametrize("layer", [Dropout, Dropout2d])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_masks_equal_those_of_the_dropout_key(layer: Any, p: float):
    """The expected masks are computed element by element as in common/random.h."""
    model = mnistcnn.Model([mnistcnn.layers.ScaleShift(0.0, 1.0), layer(p)], (3, 5, 7))
    torch.manual_seed(12)
    masked = model(torch.zeros(4, 3, 5, 7))
    torch.manual_seed(12)
    seed = int(torch.randint(2**62, ()).item())
    shape = (4, 3, 5, 7) if layer is Dropout else (4, 3, 1, 1)
    assert torch.equal(masked, dropout_mask(seed, 0, 1, shape, p).expand(4, 3, 5, 7))


def test_dropout_masks_of_native_training_depend_on_seed_and_step():
    """With one weight per pixel and inputs of 1, a step changes only the weights of pixels that are kept."""
    model = mnistcnn.Model([mnistcnn.layers.ScaleShift(0.0, 1.0), Dropout(0.5), Flatten(), Linear(2)], (1, 6, 6))
    data = mnistcnn.ImageSet.from_arrays(np.zeros((2, 1, 6, 6), np.uint8), [0, 1])
    optimizer = mnistcnn.optim.SGD(lr=0.1)
    trainer = mnistcnn.Trainer(model, batch_size=1, seed=7, shuffle=False, optimizer=optimizer, progress=False)
    before = model.get_parameter("3.weight").detach().clone()
    for _ in trainer.epochs(data[:1], epochs=2):
        changed = (model.get_parameter("3.weight").detach() != before)[0]
        step = len(trainer.history) - 1
        assert torch.equal(changed, dropout_mask(7, step, 1, (1, 36), 0.5)[0] > 0), f"seed 7, step {step}"
        before = model.get_parameter("3.weight").detach().clone()


@pytest.mark.parametrize("p", [0.0, 0.05, 0.25, 0.5, 1.0])
def test_dropout_statistics(p: float):
    """Elements are kept with probability 1 - p (within five standard deviations) and independently of each other."""
    model = mnistcnn.Model([mnistcnn.layers.ScaleShift(0.0, 1.0), Dropout(p)], (4, 28, 28))
    kept = (model(torch.zeros(64, 4, 28, 28)) > 0).double().flatten(1)
    deviation = math.sqrt(p * (1 - p))
    assert abs(kept.mean() - (1 - p)) <= 5 * deviation / math.sqrt(kept.numel())
    for other in (kept.roll(1, 0), kept.roll(1, 1), kept.roll(2, 1), kept.roll(28, 1)):
        covariance = ((kept - (1 - p)) * (other - (1 - p))).mean()
        assert abs(covariance) <= 5 * deviation**2 / math.sqrt(kept.numel()), "torch seed 0"


# ---- threads


def test_two_models_in_two_threads():
    models = [without_dropout(mnistcnn.create_model("session7_net", seed=seed)) for seed in (1, 2)]
    wanted = []
    for model in models:
        twin = Twin(model)
        loss_of(twin).backward()
        wanted.append(gradients(twin))

    def work(index: int) -> None:
        for _ in range(8):
            models[index].zero_grad()
            loss_of(models[index]).backward()
            assert near(gradients(models[index]), wanted[index])

    run_in_threads([partial(work, index) for index in (0, 1)])


# ---- properties


def test_properties():
    model = mnistcnn.Model(
        [Conv2d(4, 3), BatchNorm2d(), ReLU(), Flatten(), Linear(5), LogSoftmax()], (3, 8, 8), name="small"
    )
    assert (model.input_shape, model.output_shape, model.num_classes) == ((3, 8, 8), (5,), 5)
    assert (model.outputs, model.name, model.device) == ("log_probabilities", "small", torch.device("cpu"))
    assert model.parameter_count == sum(parameter.numel() for parameter in model.parameters())
    assert repr(model).splitlines()[0] == f"Model 'small': {model.parameter_count:,} parameters, input 3x8x8"
    assert "<table" in model._repr_html_()
    same = mnistcnn.Model.from_rows(model.rows, model.input_shape)
    assert same.rows == model.rows


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "0"])
def test_error_for_invalid_seed(seed: Any):
    with pytest.raises(ValueError, match="seed must be an integer from 0"):
        mnistcnn.Model([Flatten()], seed=seed)


@pytest.mark.parametrize(
    ("name", "call"),
    [("fit", "train(model, train_set)"), ("evaluate", "test(model, test_set)"), ("predict", "predict(model, images)")],
)
def test_methods_of_keras_raise_with_a_hint(name: str, call: str, model: mnistcnn.Model):
    assert not hasattr(model, name)
    with pytest.raises(AttributeError) as caught:
        getattr(model, name)
    assert str(caught.value) == f"'Model' object has no attribute {name!r}; write mnistcnn.{call}"
    assert caught.value.__suppress_context__


def test_layers_may_have_names_of_keras_methods():
    model = mnistcnn.Model({"fit": mnistcnn.layers.Flatten(), "out": mnistcnn.layers.Linear(10)})
    assert type(model.fit).__name__ == "Flatten"


def test_normalization_may_be_arrays():
    expected = mnistcnn.Normalization((0.25, 0.5), (0.5, 1.0))
    assert mnistcnn.Normalization(np.array([0.25, 0.5]), torch.tensor([0.5, 1.0])) == expected
    assert mnistcnn.Normalization(torch.tensor(0.25), np.float32(0.5)) == mnistcnn.Normalization(0.25, 0.5)


def test_normalization_is_checked_and_repeated_for_all_channels():
    model = mnistcnn.create_model("budget_model3", in_channels=3)
    model.normalization = mnistcnn.Normalization(0.5, 0.25)
    assert model.normalization == mnistcnn.Normalization((0.5,) * 3, (0.25,) * 3)
    for wrong in ((0.5, 0.25), 0.5):
        with pytest.raises(TypeError, match=r"normalization must be an mnistcnn.Normalization or None, got "):
            model.normalization = wrong  # type: ignore[assignment]
    with pytest.raises(ValueError, match="channels"):
        model.normalization = mnistcnn.Normalization((0.1, 0.2), (1, 1))
