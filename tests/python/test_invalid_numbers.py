"""NaN, infinite and out-of-range numbers raise an error where they are passed."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields, replace
from typing import Any

import pytest

import mnistcnn
from mnistcnn import layers, losses, optim, transforms
from mnistcnn._internal.values import kinds
from mnistcnn.nn.layers.base import LAYER_KINDS, Layer

INVALID = (math.nan, math.inf, -math.inf)
TEACHER = mnistcnn.create_model("budget_model3")

# An instance of every public class with numeric arguments. Every optional number is given.
VALUES: list[Any] = [
    mnistcnn.Normalization(0.1, 0.3),
    mnistcnn.Recipe(label_smoothing=0.1),
    optim.SchedulePlan(learning_rate=0.1, epochs=2, steps=3, momentum=0.9),
    optim.SGD(clip_norm=1.0, clip_value=1.0),
    optim.Adam(clip_norm=1.0, clip_value=1.0),
    optim.AdamW(clip_norm=1.0, clip_value=1.0),
    optim.NAdam(clip_norm=1.0, clip_value=1.0),
    optim.RMSprop(clip_norm=1.0, clip_value=1.0),
    optim.Adagrad(clip_norm=1.0, clip_value=1.0),
    optim.Muon(clip_norm=1.0, clip_value=1.0),
    optim.EMA(),
    optim.SWA(1),
    optim.Lookahead(),
    optim.ConstantLR(),
    optim.StepLR(2),
    optim.MultiStepLR((2, 4)),
    optim.ExponentialLR(0.9),
    optim.LambdaLR(lambda epoch: 1.0),
    optim.CosineAnnealing(t_max=3),
    optim.OneCycleLR(0.1),
    optim.ReduceLROnPlateau(),
    losses.NLL(class_weights=(1.0, 2.0)),
    losses.CrossEntropy(class_weights=(1.0, 2.0)),
    losses.Distillation(TEACHER),
    losses.Mixup(),
    losses.CutMix(),
    transforms.Rotation((-5, 5), center=(3.0, 4.0)),
    transforms.Affine((-5, 5), translate=(0.1, 0.1), scale=(0.9, 1.1), shear=(1, 2, 3, 4), center=(3.0, 4.0)),
    transforms.Perspective(),
    transforms.ElasticDistortion(),
    transforms.CenterCrop(20),
    transforms.RandomCrop(20, padding=(1, 2, 3, 4)),
    transforms.Resize((20, 20)),
    transforms.RandomErasing(),
    transforms.Cutout(8),
    transforms.ColorJitter((0.5, 1.5), (0.5, 1.5)),
    transforms.GaussianNoise(),
    transforms.MorphologicalThickness((-1, 1)),
    transforms.RandomApply([transforms.Rotation(5)]),
]
LAYERS: list[Layer] = [
    layers.LeakyReLU(),
    layers.ELU(),
    layers.PReLU(),
    layers.Softplus(),
    layers.ScaleShift(),
    layers.BatchNorm2d(),
    layers.BatchNorm1d(),
    layers.InstanceNorm2d(),
    layers.GroupNorm(2),
    layers.LayerNorm(8),
    layers.Dropout(),
    layers.Dropout2d(),
]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def with_invalid(given: object, number: float) -> list[object]:
    """Return the values of a field with an invalid number: the number itself, or tuples that contain it."""
    if is_number(given):
        return [number]
    if isinstance(given, tuple) and all(map(is_number, given)):
        return [(*given[:place], number, *given[place + 1 :]) for place in range(len(given))]
    return []


CASES = [
    pytest.param(value, each.name, id=f"{type(value).__name__}.{each.name}")
    for value in [*VALUES, *LAYERS]
    for each in fields(value)
    if with_invalid(getattr(value, each.name), math.nan) and not (isinstance(value, Layer) and "float" not in each.type)
]


def test_the_list_of_values_is_complete():
    """The test covers every class that these namespaces export, and every layer with a float."""
    exported = [getattr(space, name) for space in (optim, losses, transforms) for name in space.__all__]
    wanted = {each for each in exported if inspect.isclass(each) and each in kinds(object).values()}
    assert wanted <= {type(value) for value in VALUES}
    with_floats = {kind for kind in LAYER_KINDS.values() if any("float" in str(each.type) for each in fields(kind))}
    assert with_floats == {type(layer) for layer in LAYERS}


@pytest.mark.parametrize(("value", "name"), CASES)
@pytest.mark.parametrize("number", INVALID)
def test_invalid_numbers_are_refused(value: Any, name: str, number: float):
    for given in with_invalid(getattr(value, name), number):
        with pytest.raises((ValueError, TypeError)) as caught:
            replace(value, **{name: given})
        described = "a milestone" if name == "milestones" else name
        assert described in str(caught.value)
        assert repr(number) in str(caught.value)
        assert "must be" in str(caught.value)


@pytest.mark.parametrize("number", INVALID)
def test_invalid_integers_of_layers_are_refused_with_the_name_of_the_node(number: Any):
    for layer in (layers.Conv2d(number, 3), layers.Conv2d(4, number), layers.MaxPool2d(number), layers.Linear(number)):
        with pytest.raises((ValueError, TypeError), match=f"(?s)(out_channels|kernel_size|out_features).*{number}"):
            mnistcnn.Model([layers.Flatten(), layer] if isinstance(layer, layers.Linear) else [layer])
    for norm in (layers.GroupNorm(number), layers.LayerNorm(number), layers.PReLU(number)):
        with pytest.raises((ValueError, TypeError), match=f"(groups|normalized_shape|count).*{number}"):
            mnistcnn.Model([norm])


# The core computes in float32, where these numbers become 0 or infinite.
TINY, HUGE = 1e-320, 1e300
OUT_OF_RANGE: dict[str, tuple[Any, str]] = {
    "std": (lambda: mnistcnn.Normalization(0.1, TINY), r"std must be a number between 1e-09 and 1e\+09, got 1e-320"),
    "std above": (lambda: mnistcnn.Normalization(0.1, HUGE), r"std must be .* got 1e\+300"),
    "std 0": (lambda: mnistcnn.Normalization(0.1, 0.0), "std must be .* got 0.0"),
    "mean": (lambda: mnistcnn.Normalization((0.1, -HUGE), (1, 1)), r"mean must be .* got -1e\+300"),
    "mixup": (lambda: losses.Mixup(TINY), r"alpha must be a number between 1e-06 and 1e\+06, got 1e-320"),
    "cutmix": (lambda: losses.CutMix(HUGE), r"alpha must be .* got 1e\+300"),
    "temperature": (lambda: losses.Distillation(TEACHER, TINY), "temperature must be a number between 0.001 and"),
    "class weights": (lambda: losses.NLL(class_weights=(1, TINY)), "class_weights must be .* got 1e-320"),
    "lr": (lambda: optim.SGD(HUGE), r"lr must be a finite number of at least 0 and at most 3.4e\+38, got 1e\+300"),
    "integer": (lambda: optim.SGD(10**400), r"lr must be a finite number of at least 0, got 1000"),
    "muon's lr": (lambda: optim.Muon(TINY), "lr must be .* at least 1.18e-38, got 1e-320"),
    "clip_norm": (lambda: optim.SGD(clip_norm=TINY), "clip_norm must be .* at least 1.18e-38, got 1e-320"),
    "div_factor": (lambda: optim.OneCycleLR(0.1, div_factor=TINY), "div_factor must be .* got 1e-320"),
    "slope": (lambda: layers.LeakyReLU(HUGE), r"negative_slope must be .* at most 3.4e\+38, got 1e\+300"),
    "eps": (lambda: layers.BatchNorm2d(eps=TINY), "eps must be .* at least 1.18e-38, got 1e-320"),
    "eps 0": (lambda: layers.LayerNorm(8, eps=0.0), "eps must be .* got 0.0"),
    "momentum": (lambda: layers.BatchNorm2d(momentum=1.5), "momentum must be a number between 0 and 1, got 1.5"),
    "negative momentum": (lambda: layers.BatchNorm1d(momentum=-0.5), "momentum must be .* got -0.5"),
    "dropout": (lambda: layers.Dropout(1.5), "p must be a number between 0 and 1, got 1.5"),
    "beta 0": (lambda: layers.Softplus(0.0), "beta must not be 0 .* got 0.0"),
    "beta": (lambda: layers.Softplus(TINY), "beta must not be 0 .* got 1e-320"),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_numbers_out_of_range_raise(name: str):
    make, text = OUT_OF_RANGE[name]
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("value", [*VALUES, *LAYERS], ids=lambda value: type(value).__name__)
def test_valid_numbers_are_accepted(value: Any):
    assert replace(value) == value
