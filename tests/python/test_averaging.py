"""Weight averaging equals torch.optim.swa_utils and a plain Lookahead; when the model gets the averages."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

import mnistcnn
from flat import add_to_buffers, add_to_values, buffers_of, values_of
from mnistcnn import Model
from mnistcnn._internal.native import core
from mnistcnn.layers import Conv2d, Dropout, Flatten, Linear
from mnistcnn.nn.input_checks import model_view
from mnistcnn.optim import EMA, SWA, Lookahead
from mnistcnn.optim.averaging import averaged, native
from reference import Twin, distance, length, pixels_as_input
from runs import CoreRun, random_set

SHAPE = (1, 8, 8)


def network(seed: int = 0, *extra: Any, momentum: float | None = 0.1) -> Model:
    norm = mnistcnn.layers.BatchNorm2d(momentum=momentum)
    return Model(
        [
            Conv2d(4, 3),
            norm,
            mnistcnn.layers.ReLU(),
            *extra,
            Conv2d(6, 3),
            mnistcnn.layers.BatchNorm2d(),
            Flatten(),
            Linear(10),
        ],
        input_shape=SHAPE,
        seed=seed,
    )


def perturb(model: Model, rng: torch.Generator) -> None:
    """Change weights and running statistics at random, in place of a training step."""
    add_to_values(model, 0.1 * torch.randn(values_of(model).shape, generator=rng))
    add_to_buffers(model, 0.1 * torch.randn(buffers_of(model).shape, generator=rng))


def assert_same_parameters(model: Model, wanted: torch.nn.Module, tolerance: float = 1e-6) -> None:
    for name, parameter in wanted.named_parameters():
        assert distance(model.get_parameter(name), parameter) <= tolerance * length(parameter), name


def copy_averages_to(averages: core.Averaging, model: Model) -> None:
    averages.copy_to(model._network, model.tensors())


def recompute(model: Model, batch: mnistcnn.ImageSet, engine: str | None = None, **options: Any) -> None:
    """Recompute running statistics in batches of 16."""
    options = {"batch_size": 16, "seed": 0, **options}
    core.testing.recompute_statistics(model_view(model, engine), torch.tensor(batch.images), **options)


def running_statistics(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: each for name, each in module.named_buffers() if "running" in name}


def twin_of(model: Model) -> Twin:
    """Return the network as PyTorch layers in float32."""
    return Twin(model).float()


# ---- arithmetic


@pytest.mark.parametrize("buffers", [True, False])
@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_ema_equals_torch(decay: float, buffers: bool):
    model, rng = network(), torch.Generator().manual_seed(1)
    reference = AveragedModel(twin_of(model), multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=buffers)
    averages = native(EMA(decay=decay, warm_up=False, buffers=buffers), model)
    assert not averages.ready
    for _ in range(50):
        perturb(model, rng)
        core.testing.after_step(averages, model._network, model.tensors())
        reference.update_parameters(twin_of(model))
    assert averages.ready
    copy_averages_to(averages, model)
    assert_same_parameters(model, reference.module)
    for name, wanted in running_statistics(reference.module).items():
        assert distance(model.get_buffer(name), wanted) <= 1e-6 * length(wanted), name


def test_ema_with_warm_up_and_every():
    model, rng = network(), torch.Generator().manual_seed(1)
    value = EMA(decay=0.5, every=3)
    averages = native(value, model)
    average = torch.zeros_like(values_of(model))
    for step in range(1, 40):
        perturb(model, rng)
        core.testing.after_step(averages, model._network, model.tensors())
        if step % 3 == 0:
            n = step // 3 - 1
            decay = 0.0 if n == 0 else min(0.5, (1 + n) / (10 + n))
            average = decay * average + (1 - decay) * values_of(model)
    copy_averages_to(averages, model)
    torch.testing.assert_close(values_of(model), average)


def test_swa_and_running_statistics_equal_torch():
    model, rng = network(), torch.Generator().manual_seed(1)
    model.normalization = mnistcnn.Normalization(0.4, 0.25)
    value, batch = SWA(start_epoch=3, every=2), random_set(41)
    averages = native(value, model)
    reference = AveragedModel(twin_of(model))
    for epoch in range(9):
        perturb(model, rng)
        core.testing.after_step(averages, model._network, model.tensors())
        core.testing.after_epoch(averages, model._network, model.tensors(), epoch=epoch)
        assert averages.ready is (epoch >= 2)
        if epoch in (2, 4, 6, 8):
            reference.update_parameters(twin_of(model))
    copy_averages_to(averages, model)
    recompute(model, batch)
    assert_same_parameters(model, reference.module)
    update_bn(list(pixels_as_input(model, batch.images).float().split(16)), reference)
    for name, wanted in reference.module.named_buffers():
        assert distance(model.get_buffer(name), wanted) <= 1e-5 * length(wanted), name


def test_lookahead_equals_its_formula():
    model, rng = network(), torch.Generator().manual_seed(1)
    value = Lookahead(k=4, alpha=0.3)
    averages = native(value, model)
    slow = values_of(model)
    fast = slow.clone()
    for step in range(1, 31):
        change = 0.1 * torch.randn(fast.shape, generator=rng)
        add_to_values(model, change)
        fast += change
        core.testing.after_step(averages, model._network, model.tensors())
        if step % 4 == 0:
            slow += 0.3 * (fast - slow)
            fast = slow.clone()
        torch.testing.assert_close(values_of(model), fast)
    copy_averages_to(averages, model)
    torch.testing.assert_close(values_of(model), slow)


@pytest.mark.parametrize("engine", ["lanes", "aten"])
@pytest.mark.parametrize("momentum", [0.1, 0.9, None])
def test_recomputed_statistics_equal_update_bn(momentum: float | None, engine: str):
    model = network(momentum=momentum)
    twin, batch = twin_of(model), random_set(50)
    before = values_of(model)
    recompute(model, batch, engine)
    update_bn(list(pixels_as_input(model, batch.images).float().split(16)), twin)
    for name, wanted in twin.named_buffers():
        assert distance(model.get_buffer(name), wanted) <= 1e-5 * length(wanted), name
    assert values_of(model).equal(before)


def test_momentum_of_zero_keeps_running_statistics():
    model = network(momentum=0.0)
    fixed = model.get_buffer("1.running_mean").fill_(0.25)
    moving = model.get_buffer("4.running_mean").fill_(0.25)
    counters = [model.get_buffer(f"{layer}.num_batches_tracked").fill_(7) for layer in (1, 4)]
    recompute(model, random_set(40))
    assert (fixed == 0.25).all()
    assert (moving != 0.25).any()
    assert [int(each) for each in counters] == [7, 3]


def test_counters_of_instance_norms_are_not_changed():
    """As in PyTorch, where instance norms do not count batches."""
    norm = mnistcnn.layers.InstanceNorm2d(track_running_stats=True)
    model = Model([Conv2d(4, 3), norm, Flatten(), Linear(10)], input_shape=SHAPE, seed=1)
    counter, mean = model.get_buffer("1.num_batches_tracked").fill_(7), model.get_buffer("1.running_mean").clone()
    recompute(model, random_set())
    assert int(counter) == 7
    assert not model.get_buffer("1.running_mean").equal(mean)


# ---- training


def run(model: Model, value: Any, epochs: int = 2) -> CoreRun:
    made = CoreRun(model, random_set(), averages=value)
    made.epochs(epochs)
    return made


def outputs(model: Model) -> np.ndarray[Any, Any]:
    return mnistcnn.predict(model, random_set())


@pytest.mark.parametrize("value", [EMA(decay=0.8), Lookahead(k=3)], ids=str)
def test_validation_uses_the_averages(value: Any):
    model, plain = network(), network()
    made = run(model, value)
    if isinstance(value, EMA):  # EMA does not change the training
        run(plain, None)
        assert values_of(model).equal(values_of(plain))
    usual, before = outputs(model), values_of(model)
    validated = evaluated(made)
    assert validated != evaluated(CoreRun(model, random_set()))
    with averaged(made.native.averaging, model):
        inside = outputs(model)
        assert evaluated(made) == validated == evaluated(CoreRun(model, random_set()))
    assert not np.array_equal(inside, usual)
    assert values_of(model).equal(before)
    np.testing.assert_array_equal(outputs(model), usual)
    made.finish()
    np.testing.assert_array_equal(outputs(model), inside)
    assert evaluated(made) == validated


def evaluated(made: CoreRun) -> tuple[float, float]:
    images = random_set()
    return made.native.evaluate(made.view, torch.tensor(images.images), torch.tensor(images.labels))


def test_validation_does_not_write_to_parameters():
    model = network()
    made = run(model, EMA())
    versions = [each._version for each in model.parameters()]
    evaluated(made)
    assert [each._version for each in model.parameters()] == versions


def test_swa_is_not_used_for_validation():
    model = network()
    made = run(model, SWA(start_epoch=1))
    usual = outputs(model)
    with averaged(made.native.averaging, model):
        np.testing.assert_array_equal(outputs(model), usual)
    made.finish()
    assert not np.array_equal(outputs(model), usual)


def test_exception_inside_averaged_restores_the_weights():
    model = network()
    made = run(model, EMA())
    before = values_of(model)
    with pytest.raises(ZeroDivisionError), averaged(made.native.averaging, model):
        1 / 0  # noqa: B018
    assert values_of(model).equal(before)


def test_averaged_does_nothing_before_the_first_average():
    model = network()
    made = run(model, SWA(start_epoch=5))
    before, buffers = values_of(model), buffers_of(model)
    with averaged(made.native.averaging, model), averaged(None, model):
        pass
    made.finish()
    assert values_of(model).equal(before)
    assert buffers_of(model).equal(buffers)


def test_continued_run_starts_a_new_average():
    model = network()
    made = run(model, Lookahead(k=3))
    made.finish()
    assert made.native.averaging is None
    made.native.continue_after(made.view, epochs=2, steps=10)
    averages = made.native.averaging
    assert averages is not None
    assert averages.state()["values"].equal(values_of(model))


@pytest.mark.parametrize("value", [EMA(every=2), EMA(buffers=False), SWA(start_epoch=1), Lookahead(k=3)], ids=str)
def test_restored_run_continues_bit_identically(value: Any):
    """Compare two epochs in one run with two runs of one epoch, with the state restored in between."""
    straight, first = network(), network()
    whole, half = run(straight, value), run(first, value, epochs=1)
    second = copy.deepcopy(first)
    resumed = run(second, value, epochs=0)
    resumed.native.restore({name: each.clone() for name, each in half.native.state().items()}, epochs=1, steps=5)
    resumed.epochs(1)
    assert values_of(second).equal(values_of(straight))
    whole.finish()
    resumed.finish()
    assert values_of(second).equal(values_of(straight))
    assert buffers_of(second).equal(buffers_of(straight))


def test_interrupted_recomputation_keeps_the_old_statistics():
    model = network()
    before = buffers_of(model)

    def stop(images_done: int) -> None:
        if images_done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recompute(model, random_set(), on_progress=stop)
    assert buffers_of(model).equal(before)
    assert not any(model.tensors()[2])


def test_recomputed_statistics_depend_on_the_seed_of_dropout():
    found = []
    for seed in (0, 0, 1):
        model = network(0, Dropout(0.5))
        recompute(model, random_set(), seed=seed)
        found.append(buffers_of(model))
    assert found[0].equal(found[1])
    assert not found[0].equal(found[2])


# ---- errors


def test_error_for_state_of_another_averaging():
    averages, other = native(EMA(), network()), native(Lookahead(), network())
    with pytest.raises(ValueError, match=r"averages.* model.*'buffers'.* Float"):
        averages.restore(other.state())
    small = native(EMA(), Model([Flatten(), Linear(10)], input_shape=SHAPE))
    with pytest.raises(ValueError, match=r"averages.* model.*'values'"):
        averages.restore(small.state())


def test_error_for_a_step_while_the_model_has_the_averages():
    model = network()
    averages = native(Lookahead(), model)
    averages.exchange(model._network, model.tensors())
    for forbidden in (core.testing.after_step, core.Averaging.copy_to):
        with pytest.raises(RuntimeError, match="averaged weights"):
            forbidden(averages, model._network, model.tensors())


INVALID: dict[str, tuple[Any, type[Exception], str]] = {
    "decay": (lambda: EMA(decay=1.1), ValueError, "decay must be a number between 0 and 1, got 1.1"),
    "every": (lambda: EMA(every=0), ValueError, "every must be an integer of at least 1, got 0"),
    "start": (lambda: SWA(start_epoch=0), ValueError, "start_epoch must be an integer of at least 1, got 0"),
    "k": (lambda: Lookahead(k=1.5), ValueError, "k must be an integer of at least 1, got 1.5"),  # type: ignore[arg-type]
    "alpha": (lambda: Lookahead(alpha=-1), ValueError, "alpha must be a number between 0 and 1, got -1"),
    "argument": (lambda: EMA(beta=0.9), TypeError, r"EMA has no argument 'beta'\. Choose from: decay, every"),  # type: ignore[call-arg]
    "kind": (lambda: native("ema", network()), TypeError, "averaging must be an EMA, an SWA, a Lookahead or None"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", INVALID)
def test_error_for_invalid_arguments(case: str):
    action, error, text = INVALID[case]
    with pytest.raises(error, match=text):
        action()


def test_swa_with_an_augmentation_that_changes_the_size_of_the_images(digits: Any):
    data = digits[0][:60]
    padded = mnistcnn.ImageSet.from_arrays(np.pad(data.images, ((0, 0), (0, 0), (2, 2), (2, 2))), data.labels)
    found = []
    for images, augment in ((data, []), (padded, [mnistcnn.transforms.CenterCrop(28)])):
        model = mnistcnn.create_model("budget_model3", seed=1)
        model.normalization = mnistcnn.Normalization(0.1, 0.3)
        mnistcnn.train(model, images, epochs=2, averaging=SWA(1), augment=augment, progress=False)
        found.append(model.state_dict())
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=0, atol=0)
