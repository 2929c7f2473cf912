"""Averages of weights beside torch.optim.swa_utils and a plain Lookahead; when the model sees them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

import mnistcnn
from flat import add_to_buffers, add_to_values, buffers_of, values_of
from mnistcnn import EMA, SGD, SWA, Conv2d, Dropout, Flatten, Linear, Lookahead, Model
from mnistcnn._native import core
from mnistcnn.averaging import averaged, finish, native
from mnistcnn.losses import native as native_loss
from mnistcnn.optimizers import settings
from reference import Twin, distance, length, pixels_as_input
from runs import random_set

SHAPE = (1, 8, 8)


def network(seed: int = 0, *extra: Any, momentum: float | None = 0.1) -> Model:
    norm = mnistcnn.BatchNorm2d(momentum=momentum)
    return Model(
        [Conv2d(4, 3), norm, mnistcnn.ReLU(), *extra, Conv2d(6, 3), mnistcnn.BatchNorm2d(), Flatten(), Linear(10)],
        input_shape=SHAPE,
        seed=seed,
    )


def shake(model: Model, dice: torch.Generator) -> None:
    """As if a step had been made."""
    add_to_values(model, 0.1 * torch.randn(values_of(model).shape, generator=dice))
    add_to_buffers(model, 0.1 * torch.randn(buffers_of(model).shape, generator=dice))


def same(model: Model, wanted: torch.nn.Module, tolerance: float = 1e-6) -> None:
    for name, parameter in wanted.named_parameters():
        assert distance(model.get_parameter(name), parameter) <= tolerance * length(parameter), name


def the_buffers(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: each for name, each in module.named_buffers() if "running" in name}


def twin_of(model: Model) -> Twin:
    """The model as PyTorch's layers, in the precision of the model."""
    return Twin(model).float()


# ---- the arithmetic


@pytest.mark.parametrize("buffers", [True, False])
@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_ema_is_torchs(decay: float, buffers: bool):
    model, dice = network(), torch.Generator().manual_seed(1)
    reference = AveragedModel(twin_of(model), multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=buffers)
    averages = native(EMA(decay=decay, warm_up=False, buffers=buffers), model)
    assert averages is not None
    assert not averages.ready
    for _ in range(50):
        shake(model, dice)
        averages.after_step(model._network, model.tensors())
        reference.update_parameters(twin_of(model))
    assert averages.ready
    finish(averages, EMA(), model)
    same(model, reference.module)
    for name, wanted in the_buffers(reference.module).items():
        assert distance(model.get_buffer(name), wanted) <= 1e-6 * length(wanted), name


def test_ema_every_third_step_warms_up():
    model, dice = network(), torch.Generator().manual_seed(1)
    value = EMA(decay=0.5, every=3)
    averages = native(value, model)
    assert averages is not None
    average = torch.zeros_like(values_of(model))
    for step in range(1, 40):
        shake(model, dice)
        averages.after_step(model._network, model.tensors())
        if step % 3 == 0:
            n = step // 3 - 1
            decay = 0.0 if n == 0 else min(0.5, (1 + n) / (10 + n))
            average = decay * average + (1 - decay) * values_of(model)
    finish(averages, value, model)
    torch.testing.assert_close(values_of(model), average)


def test_swa_is_torchs_with_its_batch_norms():
    model, dice = network(), torch.Generator().manual_seed(1)
    model.normalization = mnistcnn.Normalization(0.4, 0.25)
    value, batch = SWA(start_epoch=3, every=2), random_set(41)
    averages = native(value, model)
    assert averages is not None
    reference = AveragedModel(twin_of(model))
    for epoch in range(9):
        shake(model, dice)
        averages.after_step(model._network, model.tensors())
        averages.after_epoch(model._network, model.tensors(), epoch=epoch)
        assert averages.ready is (epoch >= 2)
        if epoch in (2, 4, 6, 8):
            reference.update_parameters(twin_of(model))
    finish(averages, value, model, batch.images, batch_size=16)
    same(model, reference.module)
    update_bn(list(pixels_as_input(model, batch.images).float().split(16)), reference)
    for name, wanted in reference.module.named_buffers():
        assert distance(model.get_buffer(name), wanted) <= 1e-5 * length(wanted), name


def test_lookahead_is_the_papers():
    model, dice = network(), torch.Generator().manual_seed(1)
    value = Lookahead(k=4, alpha=0.3)
    averages = native(value, model)
    assert averages is not None
    slow = values_of(model)
    fast = slow.clone()
    for step in range(1, 31):
        change = 0.1 * torch.randn(fast.shape, generator=dice)
        add_to_values(model, change)
        fast += change
        averages.after_step(model._network, model.tensors())
        if step % 4 == 0:
            slow += 0.3 * (fast - slow)
            fast = slow.clone()
        torch.testing.assert_close(values_of(model), fast)
    finish(averages, value, model)
    torch.testing.assert_close(values_of(model), slow)


@pytest.mark.parametrize("engine", ["lanes", "aten"])
@pytest.mark.parametrize("momentum", [0.1, 0.9, None])
def test_statistics_are_those_of_update_bn(momentum: float | None, engine: str):
    model = network(momentum=momentum)
    twin, batch = twin_of(model), random_set(50)
    pixels = model.pixel_normalization
    before = values_of(model)
    core.recompute_statistics(
        model.native_engine(engine),
        model.tensors(),
        torch.tensor(batch.images),
        scale=pixels.scale,
        shift=pixels.shift,
        batch_size=16,
        seed=0,
    )
    update_bn(list(pixels_as_input(model, batch.images).float().split(16)), twin)
    for name, wanted in twin.named_buffers():
        assert distance(model.get_buffer(name), wanted) <= 1e-5 * length(wanted), name
    assert values_of(model).equal(before)


def test_a_norm_that_never_changes_keeps_its_statistics():
    model = network(momentum=0.0)
    fixed = model.get_buffer("1.running_mean").fill_(0.25)
    moving = model.get_buffer("4.running_mean").fill_(0.25)
    finish(*_ready_swa(model), model, random_set().images)
    assert (fixed == 0.25).all()
    assert (moving != 0.25).any()


def _ready_swa(model: Model) -> tuple[core.Averaging | None, SWA]:
    value = SWA(start_epoch=1)
    averages = native(value, model)
    assert averages is not None
    averages.after_epoch(model._network, model.tensors(), epoch=0)
    return averages, value


# ---- in training


def run(model: Model, averages: core.Averaging | None, epochs: int = 2, first: int = 0, optimizer: Any = None) -> Any:
    batch, pixels = random_set(), model.pixel_normalization
    optimizer = optimizer or core.Optimizer(
        model._network, settings(SGD(lr=0.1, momentum=0.9)), trainable=model.trainable_ranges(), undecayed=[]
    )
    for epoch in range(first, first + epochs):
        core.train_epoch(
            model.tensors,
            model.native_engine(),
            optimizer,
            torch.tensor(batch.images),
            torch.tensor(batch.labels),
            scale=pixels.scale,
            shift=pixels.shift,
            batch_size=8,
            seed=1,
            epoch=epoch,
            first_step=5 * epoch,
            shuffle=True,
            learning_rates=[0.1] * 5,
            loss=native_loss("auto", model),
            averaging=averages,
        )
    return optimizer


def outputs(model: Model) -> np.ndarray[Any, Any]:
    return mnistcnn.predict(model, random_set())


@pytest.mark.parametrize("value", [EMA(decay=0.8), Lookahead(k=3)], ids=str)
def test_a_validation_looks_at_the_averages(value: Any):
    model, plain = network(), network()
    averages = native(value, model)
    run(model, averages)
    if isinstance(value, EMA):  # it looks on
        run(plain, None)
        assert values_of(model).equal(values_of(plain))
    usual, before = outputs(model), values_of(model)
    with averaged(averages, value, model):
        inside = outputs(model)
    assert not np.array_equal(inside, usual)
    assert values_of(model).equal(before)
    np.testing.assert_array_equal(outputs(model), usual)
    finish(averages, value, model)
    np.testing.assert_array_equal(outputs(model), inside)


def test_swa_is_seen_at_the_end_only():
    model, value = network(), SWA(start_epoch=1)
    averages = native(value, model)
    run(model, averages)
    usual = outputs(model)
    with averaged(averages, value, model):
        np.testing.assert_array_equal(outputs(model), usual)
    finish(averages, value, model, random_set().images)
    assert not np.array_equal(outputs(model), usual)


def test_an_exception_inside_gives_the_model_its_weights_back():
    model, value = network(), EMA()
    averages = native(value, model)
    run(model, averages)
    before = values_of(model)
    with pytest.raises(ZeroDivisionError), averaged(averages, value, model):
        1 / 0  # noqa: B018
    assert values_of(model).equal(before)


def test_nothing_happens_before_there_is_an_average():
    model, value = network(), SWA(start_epoch=5)
    averages = native(value, model)
    run(model, averages)
    before = values_of(model)
    finish(averages, value, model, random_set().images)
    finish(None, None, model)
    with averaged(averages, value, model), averaged(None, None, model):
        pass
    assert values_of(model).equal(before)


@pytest.mark.parametrize("value", [EMA(every=2), EMA(buffers=False), SWA(start_epoch=1), Lookahead(k=3)], ids=str)
def test_a_restored_average_goes_on_where_it_was(value: Any):
    """Two epochs in one run, and in two with the states carried over by hand."""
    straight, first = network(), network()
    whole, half = native(value, straight), native(value, first)
    assert half is not None
    run(straight, whole)
    optimizer = run(first, half, epochs=1)
    second = copy.deepcopy(first)
    resumed = native(value, second)
    assert resumed is not None
    resumed.restore({name: each.clone() for name, each in half.state().items()})
    again = core.Optimizer(
        second._network, settings(SGD(lr=0.1, momentum=0.9)), trainable=second.trainable_ranges(), undecayed=[]
    )
    again.restore(optimizer.state())
    run(second, resumed, epochs=1, first=1, optimizer=again)
    assert values_of(second).equal(values_of(straight))
    finish(whole, value, straight, random_set().images)
    finish(resumed, value, second, random_set().images)
    assert values_of(second).equal(values_of(straight))
    assert buffers_of(second).equal(buffers_of(straight))


def test_interrupted_statistics_are_the_old_ones():
    model = network()
    before, pixels = buffers_of(model), model.pixel_normalization

    def stop(images_done: int) -> None:
        if images_done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        core.recompute_statistics(
            model.native_engine(),
            model.tensors(),
            torch.tensor(random_set().images),
            scale=pixels.scale,
            shift=pixels.shift,
            batch_size=16,
            seed=0,
            on_progress=stop,
        )
    assert buffers_of(model).equal(before)
    assert not any(model.tensors()[2])


def test_statistics_follow_dropouts_seed():
    found = []
    for seed in (0, 0, 1):
        model = network(0, Dropout(0.5))
        finish(*_ready_swa(model), model, random_set().images, seed=seed)
        found.append(buffers_of(model))
    assert found[0].equal(found[1])
    assert not found[0].equal(found[2])


# ---- refused


def test_states_of_something_else_are_refused():
    averages, other = native(EMA(), network()), native(Lookahead(), network())
    assert averages is not None
    assert other is not None
    with pytest.raises(ValueError, match="the stored averages do not fit this model: 'buffers' should be Float"):
        averages.restore(other.state())
    small = native(EMA(), Model([Flatten(), Linear(10)], input_shape=SHAPE))
    assert small is not None
    with pytest.raises(ValueError, match="the stored averages do not fit this model: 'values'"):
        averages.restore(small.state())


def test_no_step_while_the_model_has_the_averages():
    model = network()
    averages = native(Lookahead(), model)
    assert averages is not None
    averages.exchange(model._network, model.tensors())
    for forbidden in (averages.after_step, averages.finish):
        with pytest.raises(RuntimeError, match="the model has its averaged weights"):
            forbidden(model._network, model.tensors())


REFUSALS: dict[str, tuple[Any, type[Exception], str]] = {
    "decay": (lambda: EMA(decay=1.1), ValueError, "decay must be a number between 0 and 1, got 1.1"),
    "every": (lambda: EMA(every=0), ValueError, "every must be an integer of at least 1, got 0"),
    "start": (lambda: SWA(start_epoch=0), ValueError, "start_epoch must be an integer of at least 1, got 0"),
    "k": (lambda: Lookahead(k=1.5), ValueError, "k must be an integer of at least 1, got 1.5"),  # type: ignore[arg-type]
    "alpha": (lambda: Lookahead(alpha=-1), ValueError, "alpha must be a number between 0 and 1, got -1"),
    "argument": (lambda: EMA(beta=0.9), TypeError, "EMA has no argument 'beta'; choose from decay, every"),  # type: ignore[call-arg]
    "kind": (lambda: native("ema", network()), TypeError, "averaging must be an EMA, an SWA, a Lookahead or None"),  # type: ignore[arg-type]
    "no images": (
        lambda: finish(*_ready_swa(model := network()), model),
        ValueError,
        r"SWA\(start_epoch=1\) measures running statistics anew; give the training set's images",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused(case: str):
    action, error, text = REFUSALS[case]
    with pytest.raises(error, match=text):
        action()
