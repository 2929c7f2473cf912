"""Optimizers beside torch.optim on random gradients, what they leave alone, and what they refuse."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from flat import values_of, write_values
from mnistcnn import Model
from mnistcnn._internal.native import core
from mnistcnn._internal.values import kinds
from mnistcnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, PReLU
from mnistcnn.optim import SGD, Adagrad, Adam, AdamW, Muon, NAdam, RMSprop
from mnistcnn.optim.optimizers import Optimizer, settings, undecayed_ranges
from runs import CoreRun

STEPS = 50


def network(seed: int = 0) -> Model:
    layers = [Conv2d(6, 3, stride=2), BatchNorm2d(), PReLU(6), Conv2d(4, 3), Flatten(), Linear(10)]
    return Model(layers, input_shape=(1, 12, 12), seed=seed)


class Pair:
    """One model stepped natively, and its parameters in double, stepped by torch.optim."""

    def __init__(self, optimizer: Optimizer, seed: int = 0) -> None:
        self.model = network(seed)
        self.optimizer = optimizer
        self.dice = torch.Generator().manual_seed(seed)
        self.twin = {name: each.detach().double().requires_grad_(True) for name, each in self.model.named_parameters()}
        self.values = values_of(self.model)
        self.gradients = torch.zeros_like(self.values)
        definition = self.model._network
        self.native = core.Optimizer(
            definition,
            settings(optimizer),
            trainable=self.model.trainable_ranges(),
            undecayed=undecayed_ranges(optimizer, definition),
        )

    def draw(self, scale: float = 1.0) -> None:
        gradients = self.gradients
        gradients.copy_(torch.randn(gradients.shape, generator=self.dice) * scale)
        offset = 0
        for each in self.twin.values():
            part = gradients[offset : offset + each.numel()].view(each.shape)
            each.grad = part.double() if each.requires_grad else None
            offset += each.numel()

    def step(self, lr: float | None = None, momentum: float | None = None) -> None:
        self.native.step(self.values, self.gradients, learning_rate=lr or self.optimizer.lr, momentum=momentum)
        write_values(self.model, self.values)

    def check(self, tolerance: float = 1e-6) -> None:
        for name, wanted in self.twin.items():
            found = self.model.get_parameter(name).detach().double()
            error = ((found - wanted).norm() / wanted.norm()).item()
            assert error <= tolerance, (name, error)


CASES: list[tuple[Optimizer, Any, dict[str, Any]]] = [
    (SGD(lr=0.02), torch.optim.SGD, {}),
    (SGD(lr=0.02, weight_decay=0.1), torch.optim.SGD, {}),
    (SGD(lr=0.01, momentum=0.9), torch.optim.SGD, {}),
    (SGD(lr=0.01, momentum=0.8, dampening=0.3, weight_decay=0.05), torch.optim.SGD, {}),
    (SGD(lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.05), torch.optim.SGD, {}),
    (Adam(lr=0.01), torch.optim.Adam, {}),
    (Adam(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1), torch.optim.Adam, {}),
    (Adam(lr=0.01, amsgrad=True, weight_decay=0.1), torch.optim.Adam, {}),
    (AdamW(lr=0.01, weight_decay=0.1), torch.optim.AdamW, {}),
    (AdamW(lr=0.01, amsgrad=True), torch.optim.AdamW, {}),
    (NAdam(lr=0.01), torch.optim.NAdam, {}),
    (NAdam(lr=0.01, weight_decay=0.1, momentum_decay=0.02), torch.optim.NAdam, {}),
    (NAdam(lr=0.01, weight_decay=0.1, decoupled_weight_decay=True), torch.optim.NAdam, {}),
    (RMSprop(lr=0.005), torch.optim.RMSprop, {}),
    (RMSprop(lr=0.002, alpha=0.9, eps=1e-4, weight_decay=0.1, centered=True), torch.optim.RMSprop, {}),
    (RMSprop(lr=0.001, momentum=0.9), torch.optim.RMSprop, {}),
    (RMSprop(lr=0.001, momentum=0.9, centered=True, eps=1e-3), torch.optim.RMSprop, {}),
    (Adagrad(lr=0.02), torch.optim.Adagrad, {}),
    (Adagrad(lr=0.02, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.5), torch.optim.Adagrad, {}),
]


def torchs(kind: Any, optimizer: Optimizer, parameters: Any) -> torch.optim.Optimizer:
    names = {name for name in vars(optimizer) if name not in ("decay_exclude", "l1", "clip_norm", "clip_value")}
    return kind(parameters, **{name: getattr(optimizer, name) for name in names}, foreach=False)


@pytest.mark.parametrize(("optimizer", "kind", "_"), CASES, ids=lambda case: repr(case) if case else "")
@pytest.mark.parametrize("seed", [0, 1])
def test_fifty_steps_beside_torch(optimizer: Optimizer, kind: Any, _: Any, seed: int):
    pair = Pair(optimizer, seed)
    reference = torchs(kind, optimizer, pair.twin.values())
    for _ in range(STEPS):
        pair.draw()
        pair.step()
        reference.step()
    pair.check()


# ---- what comes before the rules


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scale", [0.01, 5.0])
def test_clipping_by_norm_is_torchs(scale: float, seed: int):
    pair = Pair(SGD(lr=0.1, momentum=0.9, clip_norm=3.0), seed)
    reference = torch.optim.SGD(pair.twin.values(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        pair.draw(scale)
        torch.nn.utils.clip_grad_norm_(pair.twin.values(), 3.0)
        pair.step()
        reference.step()
    pair.check()


def test_clipping_by_value_is_torchs():
    pair = Pair(Adam(lr=0.01, clip_value=0.5))
    reference = torch.optim.Adam(pair.twin.values(), lr=0.01)
    for _ in range(STEPS):
        pair.draw()
        torch.nn.utils.clip_grad_value_(pair.twin.values(), 0.5)
        pair.step()
        reference.step()
    pair.check()


@pytest.mark.parametrize("excluded", [(), ("bias", "norm")])
def test_l1_is_a_part_of_the_loss_that_is_clipped(excluded: tuple[str, ...]):
    pair = Pair(SGD(lr=0.05, l1=0.2, clip_norm=4.0, clip_value=0.6, decay_exclude=excluded))
    reference = torch.optim.SGD(pair.twin.values(), lr=0.05)
    for _ in range(STEPS):
        pair.draw()
        for name, each in pair.twin.items():
            if not excluded or not _is_excluded(name, excluded):
                each.grad.add_(0.2 * each.detach().sign())
        torch.nn.utils.clip_grad_norm_(pair.twin.values(), 4.0)
        torch.nn.utils.clip_grad_value_(pair.twin.values(), 0.6)
        pair.step()
        reference.step()
    pair.check()


def test_l1_leaves_a_zero_at_zero():
    model = network()
    values = torch.zeros_like(values_of(model))
    optimizer = SGD(lr=0.1, l1=1.0)
    native = core.Optimizer(model._network, settings(optimizer), trainable=model.trainable_ranges(), undecayed=[])
    native.step(values, torch.zeros_like(values), learning_rate=0.1, momentum=None)
    assert not values.any()


def _is_excluded(name: str, excluded: tuple[str, ...]) -> bool:
    is_norm = name.startswith("1.")
    return ("bias" in excluded and name.endswith(".bias")) or ("norm" in excluded and is_norm)


@pytest.mark.parametrize("excluded", [(), ("bias",), ("norm",), ("bias", "norm")], ids=str)
@pytest.mark.parametrize("kind", [SGD, AdamW, Muon])
def test_weight_decay_leaves_the_excluded_alone(kind: Any, excluded: tuple[str, ...]):
    decay = {"adam_weight_decay": 0.5} if kind is Muon else {}
    pair = Pair(kind(lr=0.1, weight_decay=0.5, decay_exclude=excluded, **decay))
    before = {name: each.detach().clone() for name, each in pair.model.named_parameters()}
    pair.values.add_(1.0)  # so that none is 0
    pair.step()
    for name, each in pair.model.named_parameters():
        assert each.equal(before[name] + 1.0) is _is_excluded(name, excluded), name


# ---- schedules


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [
        (SGD(lr=0.1, momentum=0.9, nesterov=True), torch.optim.SGD),
        (Adam(lr=0.1), torch.optim.Adam),
        (AdamW(lr=0.1), torch.optim.AdamW),
        (NAdam(lr=0.1), torch.optim.NAdam),
        (RMSprop(lr=0.1, momentum=0.9), torch.optim.RMSprop),
    ],
    ids=repr,
)
def test_rates_and_momenta_may_change_with_every_step(optimizer: Optimizer, kind: Any):
    """OneCycleLR moves the learning rate and the momentum, or the first beta."""
    pair = Pair(optimizer)
    reference = torchs(kind, optimizer, pair.twin.values())
    schedule = torch.optim.lr_scheduler.OneCycleLR(reference, max_lr=0.01, total_steps=STEPS + 1)
    for _ in range(STEPS):
        group = reference.param_groups[0]
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        pair.draw()
        pair.step(group["lr"], momentum)
        reference.step()
        schedule.step()
    pair.check()


# ---- frozen and thawed


@pytest.mark.parametrize(("optimizer", "kind", "_"), CASES, ids=repr)
def test_what_is_thawed_goes_on_as_in_torch(optimizer: Optimizer, kind: Any, _: Any):
    """Three parameters rest for twenty steps, then another one does: each counts its own steps."""
    pair = Pair(optimizer)
    reference = torchs(kind, optimizer, pair.twin.values())
    for step in range(40):
        frozen = ("0.weight", "1.bias", "5.bias") if step < 20 else ("3.weight",)
        for name in pair.twin:
            pair.twin[name].requires_grad_(name not in frozen)
            pair.model.get_parameter(name).requires_grad_(name not in frozen)
        pair.native.set_trainable(pair.model.trainable_ranges())
        pair.draw()
        pair.step()
        reference.step()
    pair.check()


# ---- Muon


def _muon_pair(optimizer: Muon, pair: Pair) -> list[torch.optim.Optimizer]:
    """torch.optim.Muon in single precision for matrices, AdamW for the rest."""
    matrices = [name for name, each in pair.model.named_parameters() if each.dim() > 1]
    pair.twin = {name: each.detach().clone() for name, each in pair.model.named_parameters()}
    for name in matrices:
        pair.twin[name] = pair.twin[name].flatten(1)
    return [
        torch.optim.Muon(
            [pair.twin[name] for name in matrices],
            lr=optimizer.lr,
            weight_decay=optimizer.weight_decay,
            momentum=optimizer.momentum,
            nesterov=optimizer.nesterov,
            ns_steps=optimizer.ns_steps,
            ns_coefficients=optimizer.ns_coefficients,
            adjust_lr_fn=optimizer.adjust_lr_fn,
        ),
        torch.optim.AdamW(
            [each for name, each in pair.twin.items() if name not in matrices],
            lr=optimizer.adam_lr,
            betas=optimizer.adam_betas,
            eps=optimizer.adam_eps,
            weight_decay=optimizer.adam_weight_decay,
        ),
    ]


@pytest.mark.parametrize(
    "optimizer",
    [
        Muon(lr=0.02),
        Muon(lr=0.02, nesterov=False, ns_steps=3, weight_decay=0.0),
        Muon(lr=0.01, adjust_lr_fn="match_rms_adamw", adam_lr=0.004, adam_weight_decay=0.1, adam_betas=(0.8, 0.95)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_muon_is_torchs(optimizer: Muon, seed: int):
    pair = Pair(optimizer, seed)
    references = _muon_pair(optimizer, pair)
    for _ in range(STEPS):
        pair.draw()
        offset = 0
        for each in pair.twin.values():
            each.grad = pair.gradients[offset : offset + each.numel()].view(each.shape).clone()
            offset += each.numel()
        pair.step()
        for reference in references:
            reference.step()
    for name, each in pair.twin.items():
        pair.twin[name] = each.view(pair.model.get_parameter(name).shape).double()
    pair.check()


def test_a_constant_gradient_has_no_variance():
    """Rounding may take the mean of squares below the square of the mean, whose root would be no number."""
    model = network()
    optimizer = RMSprop(lr=1e-3, alpha=0.5, centered=True)
    native = core.Optimizer(model._network, settings(optimizer), trainable=model.trainable_ranges(), undecayed=[])
    values = values_of(model)
    gradients = torch.linspace(0.1, 3, len(values))
    for _ in range(200):
        native.step(values, gradients, learning_rate=1e-3, momentum=None)
    assert values.isfinite().all()


# ---- state


@pytest.mark.parametrize("optimizer", [case[0] for case in CASES] + [Muon(lr=0.01)], ids=repr)
def test_a_restored_optimizer_goes_on_bit_by_bit(optimizer: Optimizer):
    pair = Pair(optimizer)
    for _ in range(5):
        pair.draw()
        pair.step()
    state = {name: each.clone() for name, each in pair.native.state().items()}
    assert state["steps"].tolist() == [5] * len(pair.twin)
    other = Pair(optimizer)
    other.values.copy_(pair.values)
    other.native.restore(state)
    for _ in range(3):
        pair.draw()
        other.gradients.copy_(pair.gradients)
        pair.step()
        other.step()
    assert other.values.equal(pair.values)
    assert all(each.equal(state[name]) for name, each in other_state(optimizer, state).items())


def other_state(optimizer: Optimizer, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Restored and read again."""
    pair = Pair(optimizer)
    pair.native.restore(state)
    return pair.native.state()


def test_states_of_something_else_are_refused():
    adam, sgd = Pair(Adam()).native, Pair(SGD(momentum=0.9)).native
    with pytest.raises(ValueError, match="an optimizer with other options"):
        adam.restore(sgd.state())
    with pytest.raises(ValueError, match="it has no 'exp_avg'"):
        adam.restore({"steps": torch.zeros(8), "a": torch.zeros(1), "b": torch.zeros(1)})
    state = adam.state()
    state["exp_avg"] = state["exp_avg"][1:]
    with pytest.raises(ValueError, match=r"'exp_avg' is .*, expected Float"):
        adam.restore(state)


# ---- in training


@pytest.mark.parametrize(
    "optimizer",
    [Adam(lr=0.005), AdamW(lr=0.005), NAdam(lr=0.005), RMSprop(lr=0.002), Adagrad(), Muon(lr=0.01)],
    ids=repr,
)
def test_every_optimizer_trains(optimizer: Optimizer, digits: Any):
    model = mnistcnn.create_model("budget_model3", seed=1)
    history = mnistcnn.train(model, digits[0][:300], epochs=4, batch_size=32, optimizer=optimizer, progress=False)
    assert history[3].train_loss < 0.9 * history[0].train_loss


def _epoch(optimizer: Optimizer, **options: Any) -> Any:
    """Train for one epoch of two steps after seven others."""
    images = mnistcnn.ImageSet.from_arrays(np.zeros((8, 1, 12, 12), np.uint8), np.zeros(8, int), classes=10)
    run = CoreRun(network(), images, optimizer=optimizer, batch_size=4, shuffle=False)
    run.native.continue_after(run.view, epochs=0, steps=7)
    return run.epochs(**options)


def test_steps_are_told_with_their_losses():
    heard: list[tuple[int, float]] = []
    result = _epoch(SGD(lr=0.1), on_step=lambda steps, loss: heard.append((steps, loss)))
    assert [steps for steps, _ in heard] == [8, 9]
    assert [loss for _, loss in heard] == pytest.approx(result["step_losses"].tolist(), rel=1e-6)
    heard.clear()
    _epoch(SGD(lr=0.1), on_step=lambda steps, loss: heard.append((steps, loss)), on_step_every=3)
    assert [steps for steps, _ in heard] == [9]


def test_an_exception_of_on_step_comes_out_unchanged():
    def stop(steps: int, loss: float) -> None:
        raise KeyError(steps)

    with pytest.raises(KeyError, match="8"):
        _epoch(SGD(lr=0.1), on_step=stop)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"learning_rates": [0.1]}, "has 2 steps, but got 1 learning rates"),
        ({"momenta": [0.9]}, "got 1 momenta for 2 steps"),
        ({"on_step": print, "on_step_every": 0}, "on_step_every must be at least 1"),
    ],
)
def test_what_an_epoch_refuses(options: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        _epoch(SGD(lr=0.1, momentum=0.9), **options)


@pytest.mark.parametrize("optimizer", [SGD(), RMSprop(), Adagrad()], ids=repr)
def test_an_optimizer_without_momentum_follows_no_momenta(optimizer: Optimizer):
    with pytest.raises(ValueError, match="momentum, but the optimizer has none"):
        _epoch(optimizer, momenta=[0.9, 0.8])


# ---- values


REFUSALS: dict[str, tuple[Any, type[Exception], str]] = {
    "argument": (lambda: SGD(beta=1), TypeError, "SGD has no argument 'beta'; choose from lr, decay_exclude, l1"),  # type: ignore[call-arg]
    "lr": (lambda: Adam(lr=-1), ValueError, "lr must be a finite number of at least 0, got -1"),
    "lr's kind": (lambda: Adam(lr="1"), TypeError, "lr must be a number, got '1'"),  # type: ignore[arg-type]
    "betas": (lambda: Adam(betas=(0.9, 1.0)), ValueError, "betas must be at least 0 and below 1, got 1.0"),
    "one beta": (lambda: Adam(betas=0.9), TypeError, "betas must be 2 numbers, got 0.9"),  # type: ignore[arg-type]
    "three betas": (lambda: NAdam(betas=(0, 0, 0)), ValueError, "betas must be 2 numbers"),  # type: ignore[arg-type]
    "eps": (lambda: Adagrad(eps=float("nan")), ValueError, "eps must be a finite number of at least 0, got nan"),
    "alpha": (lambda: RMSprop(alpha=1), ValueError, "alpha must be at least 0 and below 1, got 1"),
    "decay": (lambda: AdamW(weight_decay=-0.1), ValueError, "weight_decay must be a finite number of at least 0"),
    "dampening": (lambda: SGD(dampening=float("inf")), ValueError, "dampening must be a finite number, got inf"),
    "nesterov": (lambda: SGD(nesterov=True), ValueError, "nesterov=True needs a momentum above 0 and dampening=0"),
    "momentum": (lambda: Muon(momentum=1.0), ValueError, "momentum must be at least 0 and below 1, got 1.0"),
    "muon's lr": (lambda: Muon(lr=0), ValueError, "lr must be above 0, got 0"),
    "ns_steps": (lambda: Muon(ns_steps=100), ValueError, "ns_steps must be an integer of at most 99, got 100"),
    "adjust": (lambda: Muon(adjust_lr_fn="x"), ValueError, "adjust_lr_fn must be 'original' or 'match_rms_adamw'"),
    "clip": (lambda: SGD(clip_norm=0), ValueError, "clip_norm must be above 0, got 0"),
    "exclude": (lambda: SGD(decay_exclude=("weight",)), ValueError, "decay_exclude may name 'bias', 'norm', got"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_optimizers_refuse(case: str):
    action, error, text = REFUSALS[case]
    with pytest.raises(error, match=text):
        action()


def test_settings_the_core_does_not_know_are_refused():
    model = network()
    for change, text in (
        ({"kind": "Lion"}, "unknown optimizer 'Lion'"),
        ({"beta3": 0.5}, "unknown settings"),
        ({"kind": "NAdam"}, "NAdam: missing setting 'momentum_decay'"),
    ):
        with pytest.raises(ValueError, match=text):
            core.Optimizer(model._network, {**settings(Adam()), **change}, trainable=[], undecayed=[])


@pytest.mark.parametrize("kind", kinds(Optimizer).values())
def test_optimizers_are_plain_values(kind: Any):
    value = kind(lr=0.125, decay_exclude=["bias"], clip_norm=1)
    assert value == kind(lr=0.125, decay_exclude=("bias",), clip_norm=1.0)
    assert value != kind(lr=0.25)
    assert hash(value) == hash(copy.copy(value))
    assert pickle.loads(pickle.dumps(value)) == value
    assert dataclasses.replace(value, lr=0.25).lr == 0.25
    assert repr(value) == f"{kind.__name__}(lr=0.125, decay_exclude=('bias',), clip_norm=1.0)"
    assert eval(repr(value), vars(mnistcnn.optim)) == value
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.lr = 1.0
