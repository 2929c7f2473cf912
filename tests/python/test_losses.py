"""Losses and mixing equal PyTorch's: values, gradients, training steps; errors for invalid arguments."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mnistcnn
from mnistcnn import Model
from mnistcnn._internal.native import core
from mnistcnn.layers import Flatten, Linear, LogSoftmax, Softmax
from mnistcnn.losses import NLL, CrossEntropy, CutMix, Distillation, Mixup
from mnistcnn.optim import SGD
from mnistcnn.optim.losses import fitting_kind, native, native_mixing
from reference import Twin, distance, length, pixels_as_input
from runs import CoreRun, random_set

WEIGHTS = (0.5, 2.0, 0.0, 1.0, 1.5, 0.25, 3.0, 1.0, 0.75, 1.25)
SHAPE = (1, 8, 8)


def classifier(*last: Any, seed: int = 0, name: str = "model") -> Model:
    layers = [
        mnistcnn.layers.Conv2d(4, 3),
        mnistcnn.layers.BatchNorm2d(),
        mnistcnn.layers.Tanh(),
        Flatten(),
        Linear(10),
        *last,
    ]
    return Model(layers, input_shape=SHAPE, seed=seed, name=name)


# ---- one batch of outputs: value and gradient


def torch_reference(
    kind: str, outputs: torch.Tensor, labels: torch.Tensor, smoothing: float, weights: Any
) -> torch.Tensor:
    """Return PyTorch's cross-entropy, or for "nll" the smoothed loss of log-probabilities."""
    weight = None if weights is None else torch.tensor(weights, dtype=outputs.dtype)
    if kind == "cross_entropy":
        return F.cross_entropy(outputs, labels, weight=weight, label_smoothing=smoothing)
    spread = torch.ones(10, dtype=outputs.dtype) if weight is None else weight
    likelihood = F.nll_loss(outputs, labels, weight=weight)
    return (1 - smoothing) * likelihood - smoothing / 10 * (outputs * spread).sum() / spread[labels].sum()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("kind", ["nll", "cross_entropy"])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("mixed", [False, True])
def test_values_and_gradients_equal_torch(kind: str, smoothing: float, weights: Any, seed: int, mixed: bool):
    rng = torch.Generator().manual_seed(seed)
    outputs = torch.randn(13, 10, generator=rng) * 3
    if kind == "nll":
        outputs = outputs.log_softmax(1)
    labels = torch.randint(0, 10, (13,), generator=rng)
    partners = labels[torch.randperm(13, generator=rng)]
    value = (NLL if kind == "nll" else CrossEntropy)(label_smoothing=smoothing, class_weights=weights)
    loss = native(value, classifier(LogSoftmax()))
    options: dict[str, Any] = {"partners": partners, "share": 0.3} if mixed else {}
    loss_sum, correct, gradients = core.testing.loss_and_gradients(loss, outputs, labels, **options)

    leaf = outputs.double().requires_grad_(True)
    wanted = torch_reference(kind, leaf, labels, smoothing, weights)
    if mixed:
        wanted = 0.3 * wanted + 0.7 * torch_reference(kind, leaf, partners, smoothing, weights)
    wanted.backward()
    assert loss_sum == pytest.approx(13 * wanted.item(), rel=1e-6)
    assert distance(gradients, leaf.grad) <= 1e-6 * length(leaf.grad)
    assert correct == (outputs.argmax(1) == (partners if mixed else labels)).sum().item()


def test_formula_for_smoothed_nll_equals_cross_entropy():
    logits = torch.randn(7, 10, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    labels = torch.arange(7)
    for weights in (None, WEIGHTS):
        ours = torch_reference("nll", logits.log_softmax(1), labels, 0.2, weights)
        torch.testing.assert_close(ours, torch_reference("cross_entropy", logits, labels, 0.2, weights))


def test_loss_is_zero_if_all_labels_have_weight_zero():
    loss = native(CrossEntropy(class_weights=WEIGHTS), classifier())
    loss_sum, _, gradients = core.testing.loss_and_gradients(loss, torch.randn(3, 10), torch.tensor([2, 2, 2]))
    assert loss_sum == 0
    assert not gradients.any()


def test_log_probability_of_minus_infinity():
    """log(0) = -inf for a class other than the label does not make the loss NaN."""
    outputs = torch.full((1, 10), -np.inf)
    outputs[0, 3] = 0.0
    loss_sum, correct, gradients = core.testing.loss_and_gradients(
        native(NLL(class_weights=WEIGHTS), classifier(LogSoftmax())), outputs, torch.tensor([3])
    )
    assert (loss_sum, correct) == (0, 1)
    assert gradients.tolist() == [[0, 0, 0, -1, 0, 0, 0, 0, 0, 0]]


# ---- distillation


class Teachers:
    def __init__(self, *models: Model) -> None:
        self.models = models


@pytest.mark.parametrize("last", [(), (LogSoftmax(),)], ids=["logits", "log-probabilities"])
@pytest.mark.parametrize("teachers", [1, 3])
def test_distillation_equals_its_formula(last: tuple[Any, ...], teachers: int):
    student = classifier(*last)
    student.normalization = mnistcnn.Normalization(0.1, 0.3)
    ends: list[tuple[Any, ...]] = [(), (LogSoftmax(),), (Softmax(),)]
    models = [classifier(*end, seed=5 + index) for index, end in enumerate(ends[:teachers])]
    models[0].normalization = mnistcnn.Normalization(0.5, 0.25)
    value = Distillation(models[0] if teachers == 1 else Teachers(*models), temperature=3.0, weight=0.7)
    batch = random_set(9)
    images, labels = pixels_as_input(student, batch.images), torch.tensor(batch.labels)
    outputs = Twin(student).eval()(images).detach().float()
    loss_sum, _, gradients = core.testing.loss_and_gradients(
        native(value, student),
        outputs,
        labels,
        images=images.float(),
        scale=student.pixel_normalization.scale,
        shift=student.pixel_normalization.shift,
    )

    teacher_probabilities = torch.zeros(9, 10, dtype=torch.double)
    for model in models:
        seen = Twin(model).eval()(pixels_as_input(model, batch.images)).detach().double()
        if model.outputs == "probabilities":
            seen = seen.log()
        teacher_probabilities += (seen / 3).softmax(1) / teachers
    leaf = outputs.double().requires_grad_(True)
    divergence = F.kl_div((leaf / 3).log_softmax(1), teacher_probabilities, reduction="batchmean")
    label_loss = F.nll_loss(leaf, labels) if last else F.cross_entropy(leaf, labels)
    wanted = 0.7 * 9 * divergence + 0.3 * label_loss
    wanted.backward()
    assert loss_sum == pytest.approx(9 * wanted.item(), rel=1e-5)
    assert distance(gradients, leaf.grad) <= 1e-5 * length(leaf.grad)


def test_student_approaches_its_teacher():
    teacher, student = classifier(seed=1), classifier(seed=2)
    batch = random_set(64)
    loss = native(Distillation(teacher, temperature=1.0, weight=1.0), student)
    run(student, batch, loss, steps=150, lr=0.5)
    ours, its = mnistcnn.predict(student, batch), mnistcnn.predict(teacher, batch)
    assert (ours.argmax(1) == its.argmax(1)).mean() > 0.9
    assert np.abs(ours - its).max() < 0.2


def test_teacher_and_student_have_their_own_normalization():
    """The student's normalization at training time is used, even if it is set after the loss is created."""
    teacher, student = classifier(seed=1), classifier(seed=2)
    teacher.normalization = mnistcnn.Normalization(0.5, 0.25)
    batch = random_set(16)
    loss = native(Distillation(teacher, temperature=1.0, weight=1.0), student)
    student.normalization = mnistcnn.Normalization(0.1, 0.7)
    outputs = Twin(student).train()(pixels_as_input(student, batch.images)).detach()
    seen = Twin(teacher).eval()(pixels_as_input(teacher, batch.images)).detach()
    divergence = F.kl_div(outputs.log_softmax(1), seen.softmax(1), reduction="batchmean")
    result = run(student, batch, loss)
    assert result["step_losses"][0] == pytest.approx(divergence.item(), rel=1e-5)


# ---- training steps


def run(
    model: Model, batch: mnistcnn.ImageSet, loss: core.Loss, *, steps: int = 1, lr: float = 0.05, **options: Any
) -> dict[str, Any]:
    """Train for ``steps`` epochs in order; by default the whole set is one batch."""
    defaults = {"batch_size": len(batch), "optimizer": SGD(), "seed": 3, "shuffle": False}
    return CoreRun(model, batch, loss=loss, **{**defaults, **options}).epochs(steps, lr)


@pytest.mark.parametrize("engine", ["lanes", "aten"])
@pytest.mark.parametrize("mixing", [None, Mixup(1.0), CutMix(1.0)], ids=str)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_training_step_equals_torch(mixing: Any, weights: Any, engine: str):
    """Three batches, the last one smaller; the PyTorch loop mixes images by the same plan."""
    model = classifier()
    twin = Twin(model).train()
    start = {key: value.clone() for key, value in twin.named_parameters()}
    batch = random_set(40)
    images, labels = pixels_as_input(model, batch.images), torch.tensor(batch.labels)
    planned = native_mixing(mixing, model, 16)
    loss = native(CrossEntropy(label_smoothing=0.1, class_weights=weights), model)
    result = run(model, batch, loss, mixing=planned, engine=engine, batch_size=16)

    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05)
    losses = []
    for step, (x, y) in enumerate(zip(images.split(16), labels.split(16), strict=True)):
        x, partners, share = mixed(planned, mixing, step, x)
        optimizer.zero_grad()
        outputs = twin(x)
        value = share * torch_reference("cross_entropy", outputs, y, 0.1, weights)
        if mixing is not None:
            value = value + (1 - share) * torch_reference("cross_entropy", outputs, y[partners], 0.1, weights)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert result["step_losses"].tolist() == pytest.approx(losses, rel=1e-4)
    assert result["loss_sum"] == pytest.approx(np.dot(losses, [16, 16, 8]), rel=1e-4)
    for key, parameter in twin.named_parameters():
        allowed = 1e-3 * distance(parameter, start[key]) + 1e-6 * length(parameter)
        assert distance(model.get_parameter(key), parameter) <= allowed, key
    for key, buffer in twin.named_buffers():
        assert distance(model.get_buffer(key), buffer) <= 1e-5 * length(buffer), key


def mixed(planned: Any, mixing: Any, step: int, images: torch.Tensor) -> tuple[torch.Tensor, list[int], float]:
    if planned is None:
        return images, [], 1.0
    plan = core.testing.mixing_plan(planned, seed=3, step=step, count=len(images), height=8, width=8)
    partners, share = plan["partners"], plan["share"]
    assert sorted(partners) == list(range(len(images)))
    if isinstance(mixing, Mixup):
        return share * images + (1 - share) * images[partners], partners, share
    top, left, bottom, right = plan["box"]
    pasted = images.clone()
    pasted[:, :, top:bottom, left:right] = images[partners][:, :, top:bottom, left:right]
    assert share == 1 - (bottom - top) * (right - left) / 64
    return pasted, partners, share


@pytest.mark.parametrize("engine", ["lanes", "aten"])
def test_equal_class_weights_equal_no_weights(engine: str):
    """Compare the step with class weights and the engine's built-in loss, dropout included."""
    layers = [Flatten(), Linear(20), mnistcnn.layers.Tanh(), mnistcnn.layers.Dropout(0.5), Linear(10), LogSoftmax()]
    ours, theirs = (Model(layers, input_shape=SHAPE, seed=1) for _ in range(2))
    batch = random_set(30)
    run(ours, batch, native(NLL(class_weights=(2.0,) * 10), ours), steps=3, engine=engine)
    run(theirs, batch, native("nll", theirs), steps=3, engine=engine)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)


# ---- random numbers of the mixing


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 4.0])
def test_shares_have_the_beta_distribution(alpha: float):
    """Mean and variance over 4,000 steps, within five standard errors."""
    mixing = core.Mixing("mixup", alpha=alpha)
    shares = np.array(
        [
            core.testing.mixing_plan(mixing, seed=1, step=step, count=2, height=1, width=1)["share"]
            for step in range(4000)
        ]
    )
    assert ((shares >= 0) & (shares <= 1)).all()
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 5 * (variance / 4000) ** 0.5
    spread = (shares - 0.5) ** 2
    assert abs(spread.mean() - variance) < 5 * spread.std() / 4000**0.5


def test_mixing_plans_depend_only_on_seed_and_step():
    mixing = core.Mixing("cutmix", alpha=1.0)
    options = {"count": 16, "height": 28, "width": 28}
    one = core.testing.mixing_plan(mixing, seed=1, step=2, **options)
    assert one == core.testing.mixing_plan(core.Mixing("cutmix", alpha=1.0), seed=1, step=2, **options)
    for other in ({"seed": 2, "step": 2}, {"seed": 1, "step": 3}):
        assert core.testing.mixing_plan(mixing, **other, **options)["partners"] != one["partners"]


# ---- invalid arguments


INVALID: dict[str, tuple[Any, type[Exception], str]] = {
    "name": (lambda: native("mse", classifier()), ValueError, "loss must be one of 'auto', 'nll', 'cross_entropy'"),
    "kind": (lambda: native(3, classifier()), TypeError, "loss must be one of 'auto', .* got 3"),  # type: ignore[arg-type]
    "nll of logits": (lambda: native(NLL(), classifier()), ValueError, "requires log-probabilities"),
    "softmax": (lambda: native("auto", classifier(Softmax())), ValueError, "ends in Softmax"),
    "argument": (lambda: NLL(smoothing=0.1), TypeError, "NLL has no argument 'smoothing'.*label_smoothing"),  # type: ignore[call-arg]
    "smoothing": (
        lambda: NLL(label_smoothing=2),
        ValueError,
        "label_smoothing must be a number between 0 and 1, got 2",
    ),
    "weights": (
        lambda: native(CrossEntropy(class_weights=(1.0, 2.0)), classifier()),
        ValueError,
        "class_weights must .* got 2 .* 10 .*'model'",
    ),
    "negative weights": (lambda: CrossEntropy(class_weights=(1, -1)), ValueError, "class_weights must be at least 0"),
    "no weights": (lambda: CrossEntropy(class_weights=(0, 0)), ValueError, "not all 0"),
    "word as weights": (lambda: CrossEntropy(class_weights="ab"), TypeError, "class_weights must be numbers"),  # type: ignore[arg-type]
    "two values of label_smoothing": (
        lambda: native(CrossEntropy(label_smoothing=0.2), classifier(), 0.1),
        ValueError,
        "label_smoothing=0.1 contradicts",
    ),
    "temperature": (lambda: Distillation(classifier(), temperature=0), ValueError, "temperature must be above 0"),
    "weight": (lambda: Distillation(classifier(), weight=1.1), ValueError, "weight must be a number between 0 and 1"),
    "teacher": (
        lambda: native(Distillation(torch.nn.Linear(1, 1)), classifier()),
        TypeError,
        r"teacher must be .*Model.* got Linear",
    ),
    "no teachers": (lambda: native(Distillation(Teachers()), classifier()), TypeError, "teacher must be"),
    "teacher's shape": (
        lambda: native(Distillation(mnistcnn.create_model("budget_model1")), classifier()),
        ValueError,
        r"teacher 'budget_model1' has input_shape \(1, 28, 28\), but student 'model' has \(1, 8, 8\)",
    ),
    "alpha": (lambda: Mixup(0), ValueError, "alpha must be above 0, got 0"),
    "alpha's kind": (lambda: CutMix("a"), TypeError, "alpha must be a number, got 'a'"),  # type: ignore[arg-type]
    "mixing": (lambda: native_mixing("mixup", classifier(), 8), TypeError, "mixing must be a Mixup, a CutMix or None"),  # type: ignore[arg-type]
    "mixing one image": (lambda: native_mixing(Mixup(), classifier(), 1), ValueError, "batch_size must be at least 2"),
    "mixing one class": (
        lambda: native_mixing(Mixup(), Model([Flatten(), Linear(1), LogSoftmax()], name="one"), 8),
        ValueError,
        "at least 2 classes, but model 'one' has 1",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_error_for_invalid_arguments(case: str):
    action, error, text = INVALID[case]
    with pytest.raises(error, match=text):
        action()


def test_error_if_a_model_is_its_own_teacher():
    model = classifier()
    with pytest.raises(ValueError, match="cannot be its own teacher"):
        native(Distillation(model), model)
    native(Distillation(copy.deepcopy(model)), model)


def test_fitting_kind():
    assert fitting_kind(classifier()) == fitting_kind(classifier(Softmax()), "cross_entropy") == "cross_entropy"
    assert fitting_kind(classifier(LogSoftmax())) == "nll"


def test_repr_shows_fields_that_differ_from_defaults():
    assert repr(Distillation(classifier(name="big"), weight=0.3)) == "Distillation(teacher='big', weight=0.3)"
    two = Teachers(classifier(name="a"), classifier(name="b"))
    assert repr(Distillation(two)) == "Distillation(teacher=['a', 'b'])"
    assert repr(CrossEntropy()) == "CrossEntropy()"
    assert CrossEntropy() != NLL()
    assert NLL(class_weights=[1, 2]) == NLL(class_weights=(1.0, 2.0))  # type: ignore[arg-type]


def test_class_weights_may_be_a_tensor():
    assert CrossEntropy(class_weights=torch.ones(3)).class_weights == (1, 1, 1)
