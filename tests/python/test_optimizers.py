"""Optimizers equal torch.optim on random gradients; excluded and frozen parameters; states; invalid arguments."""

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
from mnistcnn.layers import BatchNorm2d, Conv2d, Flatten, LayerNorm, Linear, PReLU
from mnistcnn.optim import SGD, Adagrad, Adam, AdamW, Muon, NAdam, RMSprop
from mnistcnn.optim.optimizers import Optimizer, settings, undecayed_ranges
from runs import CoreRun

STEPS = 50


def network(seed: int = 0) -> Model:
    layers = [Conv2d(6, 3, stride=2), BatchNorm2d(), PReLU(6), Conv2d(4, 3), Flatten(), Linear(10)]
    return Model(layers, input_shape=(1, 12, 12), seed=seed)


class Pair:
    """A model that the core's optimizer updates, and its parameters in float64 for torch.optim."""

    def __init__(self, optimizer: Optimizer, seed: int = 0) -> None:
        self.model = network(seed)
        self.optimizer = optimizer
        self.rng = torch.Generator().manual_seed(seed)
        self.twin = {name: each.detach().double().requires_grad_(True) for name, each in self.model.named_parameters()}
        self.values = values_of(self.model)
        self.gradients = torch.zeros_like(self.values)
        definition = self.model._network
        self.native = core.testing.Optimizer(
            definition,
            settings(optimizer),
            trainable=self.model.trainable_ranges(),
            undecayed=undecayed_ranges(optimizer, definition),
        )

    def draw(self, scale: float = 1.0) -> None:
        gradients = self.gradients
        gradients.copy_(torch.randn(gradients.shape, generator=self.rng) * scale)
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


def torch_reference(kind: Any, optimizer: Optimizer, parameters: Any) -> torch.optim.Optimizer:
    names = {name for name in vars(optimizer) if name not in ("decay_exclude", "l1", "clip_norm", "clip_value")}
    return kind(parameters, **{name: getattr(optimizer, name) for name in names}, foreach=False)


@pytest.mark.parametrize(("optimizer", "kind", "_"), CASES, ids=lambda case: repr(case) if case else "")
@pytest.mark.parametrize("seed", [0, 1])
def test_fifty_steps_equal_torch(optimizer: Optimizer, kind: Any, _: Any, seed: int):
    pair = Pair(optimizer, seed)
    reference = torch_reference(kind, optimizer, pair.twin.values())
    for _ in range(STEPS):
        pair.draw()
        pair.step()
        reference.step()
    pair.check()


# ---- clipping, l1, weight decay


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scale", [0.01, 5.0])
def test_clip_norm_equals_torch(scale: float, seed: int):
    pair = Pair(SGD(lr=0.1, momentum=0.9, clip_norm=3.0), seed)
    reference = torch.optim.SGD(pair.twin.values(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        pair.draw(scale)
        torch.nn.utils.clip_grad_norm_(pair.twin.values(), 3.0)
        pair.step()
        reference.step()
    pair.check()


def test_clip_value_equals_torch():
    pair = Pair(Adam(lr=0.01, clip_value=0.5))
    reference = torch.optim.Adam(pair.twin.values(), lr=0.01)
    for _ in range(STEPS):
        pair.draw()
        torch.nn.utils.clip_grad_value_(pair.twin.values(), 0.5)
        pair.step()
        reference.step()
    pair.check()


@pytest.mark.parametrize("excluded", [(), ("bias", "norm")])
def test_l1_gradient_is_added_before_clipping(excluded: tuple[str, ...]):
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


def test_l1_gradient_of_zero_is_zero():
    model = network()
    values = torch.zeros_like(values_of(model))
    optimizer = SGD(lr=0.1, l1=1.0)
    native = core.testing.Optimizer(
        model._network, settings(optimizer), trainable=model.trainable_ranges(), undecayed=[]
    )
    native.step(values, torch.zeros_like(values), learning_rate=0.1, momentum=None)
    assert not values.any()


def _is_excluded(name: str, excluded: tuple[str, ...]) -> bool:
    is_norm = name.startswith("1.")
    return ("bias" in excluded and name.endswith(".bias")) or ("norm" in excluded and is_norm)


@pytest.mark.parametrize("excluded", [(), ("bias",), ("norm",), ("bias", "norm")], ids=str)
@pytest.mark.parametrize("kind", [SGD, AdamW, Muon])
def test_weight_decay_skips_excluded_parameters(kind: Any, excluded: tuple[str, ...]):
    decay = {"adam_weight_decay": 0.5} if kind is Muon else {}
    pair = Pair(kind(lr=0.1, weight_decay=0.5, decay_exclude=excluded, **decay))
    before = {name: each.detach().clone() for name, each in pair.model.named_parameters()}
    pair.values.add_(1.0)  # no parameter is 0, which weight decay does not change
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
def test_learning_rate_and_momentum_change_in_every_step(optimizer: Optimizer, kind: Any):
    """OneCycleLR changes the learning rate and the momentum or beta1."""
    pair = Pair(optimizer)
    reference = torch_reference(kind, optimizer, pair.twin.values())
    schedule = torch.optim.lr_scheduler.OneCycleLR(reference, max_lr=0.01, total_steps=STEPS + 1)
    for _ in range(STEPS):
        group = reference.param_groups[0]
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        pair.draw()
        pair.step(group["lr"], momentum)
        reference.step()
        schedule.step()
    pair.check()


# ---- frozen parameters


@pytest.mark.parametrize(("optimizer", "kind", "_"), CASES, ids=repr)
def test_unfrozen_parameters_continue_as_in_torch(optimizer: Optimizer, kind: Any, _: Any):
    """Freeze three parameters for 20 steps, then another one. Each parameter has its own step count."""
    pair = Pair(optimizer)
    reference = torch_reference(kind, optimizer, pair.twin.values())
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


def _muon_references(optimizer: Muon, pair: Pair) -> list[torch.optim.Optimizer]:
    """Return torch.optim.Muon in float32 for matrices, and AdamW for all other parameters."""
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
def test_muon_equals_torch(optimizer: Muon, seed: int):
    pair = Pair(optimizer, seed)
    references = _muon_references(optimizer, pair)
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


def test_muon_updates_layer_norms_as_adamw():
    """Their weights may have as many dimensions as those of convolutions, but they are not matrices."""
    model = Model([LayerNorm((8, 28, 28)), Flatten(), Linear(10)], input_shape=(8, 28, 28), seed=1)
    optimizer = Muon(lr=0.02, adam_lr=0.004, adam_weight_decay=0.1)
    native = core.testing.Optimizer(
        model._network, settings(optimizer), trainable=model.trainable_ranges(), undecayed=[]
    )
    twin = {name: each.detach().clone() for name, each in model.named_parameters() if name.startswith("0.")}
    reference = torch.optim.AdamW(
        twin.values(),
        lr=optimizer.adam_lr,
        betas=optimizer.adam_betas,
        eps=optimizer.adam_eps,
        weight_decay=optimizer.adam_weight_decay,
    )
    values, rng = values_of(model), torch.Generator().manual_seed(1)
    for _ in range(3):
        gradients = torch.randn(values.shape, generator=rng)
        native.step(values, gradients, learning_rate=optimizer.lr, momentum=None)
        parts = gradients.split([each.numel() for each in model.parameters()])
        for (name, _), part in zip(model.named_parameters(), parts, strict=True):
            if name in twin:
                twin[name].grad = part.view(twin[name].shape)
        reference.step()
    write_values(model, values)
    assert sorted(twin) == ["0.bias", "0.weight"]
    for name, wanted in twin.items():
        torch.testing.assert_close(model.get_parameter(name).detach(), wanted, rtol=1e-5, atol=1e-6)


def test_centered_rmsprop_with_constant_gradient_stays_finite():
    """Rounding may make the estimated variance negative, and its square root NaN."""
    model = network()
    optimizer = RMSprop(lr=1e-3, alpha=0.5, centered=True)
    native = core.testing.Optimizer(
        model._network, settings(optimizer), trainable=model.trainable_ranges(), undecayed=[]
    )
    values = values_of(model)
    gradients = torch.linspace(0.1, 3, len(values))
    for _ in range(200):
        native.step(values, gradients, learning_rate=1e-3, momentum=None)
    assert values.isfinite().all()


# ---- state


@pytest.mark.parametrize("optimizer", [case[0] for case in CASES] + [Muon(lr=0.01)], ids=repr)
def test_restored_optimizer_continues_bit_identically(optimizer: Optimizer):
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
    assert all(each.equal(state[name]) for name, each in restored_state(optimizer, state).items())


def restored_state(optimizer: Optimizer, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state of an optimizer after it is restored."""
    pair = Pair(optimizer)
    pair.native.restore(state)
    return pair.native.state()


def test_error_for_state_of_another_optimizer():
    adam, sgd = Pair(Adam()).native, Pair(SGD(momentum=0.9)).native
    with pytest.raises(ValueError, match="optimizer"):
        adam.restore(sgd.state())
    with pytest.raises(ValueError, match="'exp_avg'"):
        adam.restore({"steps": torch.zeros(8), "a": torch.zeros(1), "b": torch.zeros(1)})
    state = adam.state()
    state["exp_avg"] = state["exp_avg"][1:]
    with pytest.raises(ValueError, match=r"'exp_avg'.* Float"):
        adam.restore(state)


# ---- training


@pytest.mark.parametrize(
    "optimizer",
    [Adam(lr=0.005), AdamW(lr=0.005), NAdam(lr=0.005), RMSprop(lr=0.002), Adagrad(), Muon(lr=0.01)],
    ids=repr,
)
def test_training_reduces_the_loss(optimizer: Optimizer, digits: Any):
    model = mnistcnn.create_model("budget_model3", seed=1)
    history = mnistcnn.train(model, digits[0][:300], epochs=4, batch_size=32, optimizer=optimizer, progress=False)
    assert history[3].train_loss < 0.9 * history[0].train_loss


def _epoch(optimizer: Optimizer, **options: Any) -> Any:
    """Train for one epoch of two steps, which follow seven earlier steps."""
    images = mnistcnn.ImageSet.from_arrays(np.zeros((8, 1, 12, 12), np.uint8), np.zeros(8, int), classes=10)
    run = CoreRun(network(), images, optimizer=optimizer, batch_size=4, shuffle=False)
    run.native.continue_after(run.view, epochs=0, steps=7)
    return run.epochs(**options)


def test_on_step_gets_step_and_loss():
    calls: list[tuple[int, float]] = []
    result = _epoch(SGD(lr=0.1), on_step=lambda steps, loss: calls.append((steps, loss)))
    assert [steps for steps, _ in calls] == [8, 9]
    assert [loss for _, loss in calls] == pytest.approx(result["step_losses"].tolist(), rel=1e-6)
    calls.clear()
    _epoch(SGD(lr=0.1), on_step=lambda steps, loss: calls.append((steps, loss)), on_step_every=3)
    assert [steps for steps, _ in calls] == [9]


def test_exception_of_on_step_is_propagated():
    def stop(steps: int, loss: float) -> None:
        raise KeyError(steps)

    with pytest.raises(KeyError, match="8"):
        _epoch(SGD(lr=0.1), on_step=stop)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"learning_rates": [0.1]}, "2 steps.* 1 learning rate"),
        ({"momenta": [0.9]}, "1 moment.* 2 steps"),
        ({"on_step": print, "on_step_every": 0}, "on_step_every"),
    ],
)
def test_error_for_invalid_options_of_an_epoch(options: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        _epoch(SGD(lr=0.1, momentum=0.9), **options)


@pytest.mark.parametrize("optimizer", [SGD(), RMSprop(), Adagrad()], ids=repr)
def test_error_for_momenta_without_momentum(optimizer: Optimizer):
    with pytest.raises(ValueError, match="momentum"):
        _epoch(optimizer, momenta=[0.9, 0.8])


# ---- arguments and values


INVALID: dict[str, tuple[Any, type[Exception], str]] = {
    "argument": (
        lambda: SGD(momentun=1),  # type: ignore[call-arg]
        TypeError,
        r"SGD has no argument 'momentun'; did you mean 'momentum'\? Choose from: momentum, .*, nesterov, lr, ",
    ),
    "lr": (lambda: Adam(lr=-1), ValueError, "lr must be a finite number of at least 0, got -1"),
    "lr's kind": (lambda: Adam(lr="1"), TypeError, "lr must be a number, got '1'"),  # type: ignore[arg-type]
    "betas": (lambda: Adam(betas=(0.9, 1.0)), ValueError, "betas must be at least 0 and below 1, got 1.0"),
    "one beta": (lambda: Adam(betas=0.9), TypeError, "betas must be 2 numbers, got 0.9"),  # type: ignore[arg-type]
    "three betas": (lambda: NAdam(betas=(0, 0, 0)), ValueError, "betas must be 2 numbers"),  # type: ignore[arg-type]
    "eps": (lambda: Adagrad(eps=float("nan")), ValueError, "eps must be a finite number of at least 0, got nan"),
    "alpha": (lambda: RMSprop(alpha=1), ValueError, "alpha must be at least 0 and below 1, got 1"),
    "decay": (lambda: AdamW(weight_decay=-0.1), ValueError, "weight_decay must be a finite number of at least 0"),
    "dampening": (lambda: SGD(dampening=float("inf")), ValueError, "dampening must be a finite number, got inf"),
    "nesterov": (lambda: SGD(nesterov=True), ValueError, r"nesterov=True .*got momentum=0\.0 and dampening=0\.0"),
    "momentum": (lambda: Muon(momentum=1.0), ValueError, "momentum must be at least 0 and below 1, got 1.0"),
    "muon's lr": (lambda: Muon(lr=0), ValueError, "lr must be above 0, got 0"),
    "ns_steps": (lambda: Muon(ns_steps=100), ValueError, "ns_steps must be an integer of at most 99, got 100"),
    "adjust": (lambda: Muon(adjust_lr_fn="x"), ValueError, "adjust_lr_fn must be one of 'original', 'match_rms_adamw'"),
    "clip": (lambda: SGD(clip_norm=0), ValueError, "clip_norm must be above 0, got 0"),
    "exclude": (lambda: SGD(decay_exclude=("weight",)), ValueError, r"decay_exclude must .*got \('weight',\)"),
}


@pytest.mark.parametrize("case", INVALID)
def test_error_for_invalid_arguments(case: str):
    action, error, text = INVALID[case]
    with pytest.raises(error, match=text):
        action()


def test_error_of_the_core_for_invalid_settings():
    model = network()
    for change, text in (
        ({"kind": "Lion"}, "'Lion'"),
        ({"beta3": 0.5}, "settings"),
        ({"kind": "NAdam"}, "NAdam.*'momentum_decay'"),
    ):
        with pytest.raises(ValueError, match=text):
            core.testing.Optimizer(model._network, {**settings(Adam()), **change}, trainable=[], undecayed=[])


@pytest.mark.parametrize("kind", kinds(Optimizer).values())
def test_optimizers_are_values(kind: Any):
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
