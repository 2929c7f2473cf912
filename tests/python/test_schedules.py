"""Schedules equal those of torch.optim.lr_scheduler for random arguments."""

from __future__ import annotations

import copy
import math
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as reference

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.callbacks import EpochRecord
from mnistcnn.optim.schedules import Schedule, SchedulePlan

Rng = random.Random
PLAN = SchedulePlan(learning_rate=0.1, epochs=12, steps=7, momentum=0.9)


def torch_optimizer(plan: SchedulePlan, adam: bool = False) -> torch.optim.Optimizer:
    parameters = [torch.zeros(1, requires_grad=True)]
    if adam:
        return torch.optim.Adam(parameters, lr=plan.learning_rate, betas=(plan.momentum or 0.9, 0.999))
    return torch.optim.SGD(parameters, lr=plan.learning_rate, momentum=plan.momentum or 0.0)


def random_plan(rng: Rng) -> SchedulePlan:
    return SchedulePlan(10 ** rng.uniform(-4, 0), rng.randint(2, 25), rng.randint(1, 9), rng.uniform(0.5, 0.95))


def per_epoch(schedule: Schedule, plan: SchedulePlan) -> list[float]:
    """Return the learning rate of each epoch, which must be constant within the epoch."""
    rates = [schedule.rates(plan, epoch, []) for epoch in range(plan.epochs)]
    assert all(len(each.learning_rates) == plan.steps and len(set(each.learning_rates)) == 1 for each in rates)
    assert all(each.momenta is None for each in rates)
    return [each.learning_rates[0] for each in rates]


def torch_rates(scheduler: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


Case = tuple[Schedule, Callable[[torch.optim.Optimizer], Any]]


def _step(rng: Rng, plan: SchedulePlan) -> Case:
    size, gamma = rng.randint(1, 8), rng.uniform(0.05, 1)
    return mnistcnn.optim.StepLR(size, gamma), lambda o: reference.StepLR(o, size, gamma)


def _multi_step(rng: Rng, plan: SchedulePlan) -> Case:
    milestones, gamma = [rng.randint(1, 20) for _ in range(3)], rng.uniform(0.05, 1)
    return mnistcnn.optim.MultiStepLR(milestones, gamma), lambda o: reference.MultiStepLR(o, sorted(milestones), gamma)


def _exponential(rng: Rng, plan: SchedulePlan) -> Case:
    gamma = rng.uniform(0.5, 1)
    return mnistcnn.optim.ExponentialLR(gamma), lambda o: reference.ExponentialLR(o, gamma)


def _constant(rng: Rng, plan: SchedulePlan) -> Case:
    factor, epochs = rng.uniform(0.1, 1), rng.randint(1, 8)
    return mnistcnn.optim.ConstantLR(factor, epochs), lambda o: reference.ConstantLR(o, factor, epochs)


def _lambda(rng: Rng, plan: SchedulePlan) -> Case:
    power = rng.uniform(0.1, 2)

    def factor(epoch: int) -> float:
        return (1 + epoch) ** -power

    return mnistcnn.optim.LambdaLR(factor), lambda o: reference.LambdaLR(o, factor)


def _cosine(rng: Rng, plan: SchedulePlan) -> Case:
    lowest = rng.uniform(0, 1) * plan.learning_rate
    schedule = mnistcnn.optim.CosineAnnealing(eta_min=lowest, per_step=False)
    return schedule, lambda o: reference.CosineAnnealingLR(o, plan.epochs, lowest)


def _warm_cosine(rng: Rng, plan: SchedulePlan) -> Case:
    warm, start = rng.randint(1, plan.epochs - 1), rng.uniform(0.01, 1)

    def both(optimizer: torch.optim.Optimizer) -> Any:
        parts = [
            reference.LinearLR(optimizer, start, total_iters=warm),
            reference.CosineAnnealingLR(optimizer, plan.epochs - warm),
        ]
        return reference.SequentialLR(optimizer, parts, milestones=[warm])

    return mnistcnn.optim.CosineAnnealing(warmup_epochs=warm, warmup_start=start, per_step=False), both


@pytest.mark.filterwarnings("ignore:.*epoch parameter:UserWarning")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("make", [_step, _multi_step, _exponential, _constant, _lambda, _cosine, _warm_cosine])
def test_rates_per_epoch_equal_torch(make: Callable[[Rng, SchedulePlan], Case], seed: int):
    rng = Rng(seed)
    plan = random_plan(rng)
    schedule, build = make(rng, plan)
    wanted = torch_rates(build(torch_optimizer(plan)), plan.epochs)
    assert per_epoch(schedule, plan) == pytest.approx(wanted, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("seed", range(6))
def test_cosine_annealing_per_step_equals_torch(seed: int):
    """The reference anneals over all steps of the run."""
    rng = Rng(seed)
    plan = random_plan(rng)
    found = [
        rate
        for epoch in range(plan.epochs)
        for rate in mnistcnn.optim.CosineAnnealing().rates(plan, epoch, []).learning_rates
    ]
    scheduler = reference.CosineAnnealingLR(torch_optimizer(plan), plan.epochs * plan.steps)
    assert found == pytest.approx(torch_rates(scheduler, len(found)), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("seed", range(24))
def test_one_cycle_equals_torch(seed: int):
    rng = Rng(seed)
    plan = replace(random_plan(rng), steps=rng.randint(2, 9), epochs=rng.randint(2, 9))
    options: dict[str, Any] = {
        "max_lr": 10 ** rng.uniform(-3, 0),
        "pct_start": rng.uniform(0.1, 0.45),
        "anneal_strategy": rng.choice(["cos", "linear"]),
        "div_factor": rng.uniform(2, 50),
        "final_div_factor": 10 ** rng.uniform(1, 5),
        "three_phase": seed % 2 == 1,
        "base_momentum": rng.uniform(0.5, 0.85),
        "max_momentum": rng.uniform(0.86, 0.99),
    }
    adam = seed % 3 == 0
    optimizer = torch_optimizer(plan, adam)
    scheduler = reference.OneCycleLR(optimizer, total_steps=plan.epochs * plan.steps, **options)
    schedule = mnistcnn.optim.OneCycleLR(**options)
    schedule.check(plan)
    for epoch in range(plan.epochs):
        rates = schedule.rates(plan, epoch, [])
        assert rates.momenta is not None
        for step in range(plan.steps):
            group = optimizer.param_groups[0]
            assert rates.learning_rates[step] == pytest.approx(group["lr"], rel=1e-9)
            assert rates.momenta[step] == pytest.approx(group["betas"][0] if adam else group["momentum"], rel=1e-9)
            optimizer.step()
            if epoch * plan.steps + step + 1 < plan.epochs * plan.steps:
                scheduler.step()


@pytest.mark.parametrize("seed", range(30))
def test_reduce_on_plateau_equals_torch(seed: int):
    rng = Rng(seed)
    plan = replace(random_plan(rng), epochs=40)
    monitor = rng.choice(["validation_accuracy", "validation_loss", "train_loss"])
    options: dict[str, Any] = {
        "factor": rng.uniform(0.1, 0.9),
        "patience": rng.randint(0, 4),
        "threshold": rng.choice([1e-4, 0.05, 0.2]),
        "threshold_mode": rng.choice(["rel", "abs"]),
        "cooldown": rng.randint(0, 3),
        "min_lr": rng.choice([0.0, plan.learning_rate / 10]),
    }
    mode = "max" if monitor.endswith("accuracy") else "min"
    scheduler = reference.ReduceLROnPlateau(torch_optimizer(plan), mode=mode, **options)
    schedule = mnistcnn.optim.ReduceLROnPlateau(monitor=monitor, **options)
    records: list[EpochRecord] = []
    for epoch in range(plan.epochs):
        rate = schedule.rates(plan, epoch, records).learning_rates[0]
        assert rate == pytest.approx(scheduler.optimizer.param_groups[0]["lr"], rel=1e-12), epoch
        value = rng.uniform(0.2, 0.9) if rng.random() < 0.7 else 0.5
        if rng.random() < 0.2:
            value = rng.choice([math.nan, math.inf, -math.inf])
        records.append(replace(EpochRecord(epoch + 1, 0, 0, 0, 0, rate, 1.0), **{monitor: value}))
        scheduler.step(value)


def test_subclass_with_more_fields_and_another_rate():
    @dataclass(frozen=True, repr=False)
    class Late(mnistcnn.optim.StepLR):
        delay: int = 3

        def epoch_rate(self, plan: SchedulePlan, epoch: int, records: Sequence[EpochRecord]) -> float:
            return super().epoch_rate(plan, max(0, epoch - self.delay), records)

    plan = replace(PLAN, epochs=6)
    assert per_epoch(Late(1, 0.5), plan) == [0.1, 0.1, 0.1, 0.1, 0.05, 0.025]


@pytest.mark.parametrize("value", [mnistcnn.optim.OneCycleLR(0.1), mnistcnn.optim.MultiStepLR([3, 5], gamma=0.5)])
def test_schedules_with_required_arguments_can_be_copied(value: Schedule):
    assert copy.copy(value) == copy.deepcopy(value) == value
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value


def test_depends_on_epochs():
    assert mnistcnn.optim.CosineAnnealing().depends_on_epochs
    assert mnistcnn.optim.OneCycleLR(0.1).depends_on_epochs
    assert not mnistcnn.optim.CosineAnnealing(t_max=5).depends_on_epochs
    assert not mnistcnn.optim.StepLR(2).depends_on_epochs


INVALID: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "step size": (lambda: mnistcnn.optim.StepLR(0), ValueError, "step_size must be an integer of at least 1, got 0"),
    "gamma": (lambda: mnistcnn.optim.StepLR(2, "a"), TypeError, "gamma must be a number, got 'a'"),  # type: ignore[arg-type]
    "milestones": (lambda: mnistcnn.optim.MultiStepLR(5), TypeError, "milestones must be .* got 5"),  # type: ignore[arg-type]
    "unknown": (lambda: mnistcnn.optim.StepLR(2, gama=0.1), TypeError, "StepLR has no argument 'gama'"),  # type: ignore[call-arg]
    "missing": (lambda: mnistcnn.optim.OneCycleLR(), TypeError, "missing 1 required positional argument: 'max_lr'"),  # type: ignore[call-arg]
    "monitor": (
        lambda: mnistcnn.optim.ReduceLROnPlateau(monitor="validation_acuracy"),
        ValueError,
        "monitor must be one of .* did you mean 'validation_accuracy'",
    ),
    "factor": (lambda: mnistcnn.optim.ReduceLROnPlateau(1.5), ValueError, "factor must be below 1, got 1.5"),
    "function": (lambda: mnistcnn.optim.LambdaLR(0.5), TypeError, r"function must .* got 0\.5"),  # type: ignore[arg-type]
    "strategy": (
        lambda: mnistcnn.optim.OneCycleLR(0.1, anneal_strategy="sin"),
        ValueError,
        "anneal_strategy must be one of",
    ),  # type: ignore[arg-type]
    "momentum": (
        lambda: mnistcnn.optim.OneCycleLR(0.1).check(replace(PLAN, momentum=None)),
        ValueError,
        "momentum.* cycle_momentum=False",
    ),
    "warm-up": (
        lambda: mnistcnn.optim.CosineAnnealing(warmup_epochs=12).check(PLAN),
        ValueError,
        "warmup_epochs.*12.* 12",
    ),
    "overflow": (
        lambda: mnistcnn.optim.ExponentialLR(1e30).rates(PLAN, 11, []),
        OverflowError,
        r"gamma=1e\+30 and n=11",
    ),
    "the core's kinds": (lambda: core.Schedule("Linear", {}), ValueError, "'Linear'"),
    "the core's settings": (
        lambda: core.Schedule("ExponentialLR", {"gamma": 0.5, "power": 2}),
        ValueError,
        "ExponentialLR",
    ),
    "the core's annealing": (
        lambda: core.Schedule("OneCycleLR", {**vars(mnistcnn.optim.OneCycleLR(0.1)), "anneal_strategy": "sin"}),
        ValueError,
        "'sin'",
    ),
    "lambda's factor": (
        lambda: mnistcnn.optim.LambdaLR(lambda _: float("nan")).rates(PLAN, 3, []),
        ValueError,
        "LambdaLR's factor in epoch 3 must be a finite number",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_error_for_invalid_arguments(case: str):
    call, error, text = INVALID[case]
    with pytest.raises(error, match=text):
        call()


@dataclass(frozen=True)
class UserRates(Schedule):
    """Schedule of a user."""

    result: Any = None

    def rates(self, plan: SchedulePlan, epoch: int, records: Any) -> Any:
        return self.result(plan.steps)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda steps: [0.1] * steps, TypeError, r"UserRates\.rates must return mnistcnn\.optim\.Rates"),
        (
            lambda steps: mnistcnn.optim.Rates([None] * steps),
            TypeError,
            "each learning rate of UserRates must",
        ),
        (lambda steps: mnistcnn.optim.Rates([float("nan")] * steps), ValueError, "each learning rate of UserRates"),
        (lambda steps: mnistcnn.optim.Rates([-0.1] * steps), ValueError, "each learning rate of UserRates"),
        (lambda _: mnistcnn.optim.Rates([0.1]), ValueError, r"UserRates\.rates must return one value per step"),
    ],
)
def test_wrong_rates_name_the_schedule(data: Any, result: Any, error: Any, message: str):
    model = mnistcnn.create_model("budget_model3")
    with pytest.raises(error, match=message):
        mnistcnn.train(model, data, epochs=1, schedule=UserRates(result), progress=False)


def test_rates_of_numpy_are_stored_as_python_floats(data: Any):
    schedule = UserRates(lambda steps: mnistcnn.optim.Rates(list(np.linspace(0.1, 0.01, steps, dtype=np.float32))))
    history = mnistcnn.train(mnistcnn.create_model("budget_model3"), data, epochs=1, schedule=schedule, progress=False)
    assert type(history.last.learning_rate) is float
    assert "learning_rate" in history.to_json()
