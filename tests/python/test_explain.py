"""Feature maps, Grad-CAM and saliency compared with torch.nn and hooks; receptive fields compared with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mnistcnn
import mnistcnn.layers as m
from mnistcnn.evaluation import explain
from reference import Twin, pixels_as_input

IMAGES = np.random.default_rng(3).integers(0, 256, (5, 1, 28, 28), dtype=np.uint8)


def residual() -> mnistcnn.Model:
    """Return a model whose shortcut bypasses all layers of the block, through a convolution."""
    body = {
        "narrow": m.Conv2d(6, 3, padding=1),
        "act": m.ReLU(),
        "down": m.Conv2d(8, 3, stride=2, padding=1),
        "gate": m.Node(m.Sigmoid(), inputs=("down",)),
    }
    layers = {
        "first": m.Conv2d(4, 3, padding=1),
        "block": m.Residual(body, shortcut=m.Conv2d(8, 1, stride=2)),
        "again": m.Conv2d(5, 3),
        "norm": m.BatchNorm2d(),
        "gap": m.AdaptiveAvgPool2d(1),
        "flatten": m.Flatten(),
        "fc": m.Linear(10),
        "out": m.LogSoftmax(),
    }
    return perturbed(mnistcnn.Model(layers, seed=4))


def branches() -> mnistcnn.Model:
    """Return a model whose later layers use flat features, a small map and the input image."""
    layers = {
        "a": m.Conv2d(4, 5),
        "pool": m.MaxPool2d(4),
        "b": m.Conv2d(6, 3, padding=1),
        "b_flat": m.Flatten(),
        "squeeze": m.Node(m.AdaptiveAvgPool2d(1), inputs=("pool",)),
        "squeeze_flat": m.Flatten(),
        "image": m.Node(m.AdaptiveAvgPool2d(3), inputs=("input",)),
        "image_flat": m.Flatten(),
        "all": m.Node(m.Concat(), inputs=("b_flat", "squeeze_flat", "image_flat")),
        "fc": m.Linear(10),
    }
    return perturbed(mnistcnn.Model(layers, seed=5))


def perturbed(model: mnistcnn.Model) -> mnistcnn.Model:
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


MODELS = {
    "session7_net": lambda: perturbed(mnistcnn.create_model("session7_net", seed=2)),
    "budget_model1": lambda: perturbed(mnistcnn.create_model("budget_model1", seed=2)),
    "residual": residual,
    "branches": branches,
}


class HookedTwin:
    """The model in plain torch.nn, with hooks that record the output and gradient of a layer."""

    def __init__(self, model: mnistcnn.Model, layer: str, target: int) -> None:
        twin = Twin(model).eval()
        steps = {node["name"]: step for node, step in zip(twin._nodes, twin._steps, strict=True)}
        recorded: dict[str, torch.Tensor] = {}

        def record(_: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            output.retain_grad()
            recorded["maps"] = output

        def record_scores(_: nn.Module, inputs: Any) -> None:
            recorded["scores"] = inputs[0]

        steps[layer].register_forward_hook(record)
        last = twin._nodes[-1]
        if last["op"] == "log_softmax":
            twin._steps[-1].register_forward_pre_hook(record_scores)
        self.images = pixels_as_input(model, IMAGES).requires_grad_()
        outputs = twin(self.images)
        recorded.get("scores", outputs)[:, target].sum().backward()
        self.maps, self.gradients = recorded["maps"], recorded["maps"].grad
        assert self.gradients is not None


def close(ours: np.ndarray[Any, Any], wanted: torch.Tensor) -> None:
    expected = wanted.detach().numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())


LAYERS = [
    ("session7_net", "convblock1.0"),
    ("session7_net", "convblock7.2"),
    ("session7_net", "convblock10.0"),
    ("budget_model1", "pool2"),
    ("residual", "first"),
    ("residual", "block.act"),
    ("residual", "block.gate"),
    ("residual", "block.add"),
    ("branches", "pool"),
    ("branches", "b"),
    ("branches", "image"),
]


@pytest.mark.parametrize("pool", [lambda x: x.mean((2, 3)), lambda x: x.mean(3).mean(2)])
def test_grad_cam_uses_the_last_convolution_before_a_mean(pool: Any):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 10, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return pool(self.conv(x))

    model = mnistcnn.from_torch(Net())
    np.testing.assert_array_equal(explain.grad_cam(model, IMAGES), explain.grad_cam(model, IMAGES, layer="conv"))


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_feature_maps_and_grad_cam_match_hooks(name: str, layer: str):
    model = MODELS[name]()
    positive = 0
    for target in range(10):
        twin = HookedTwin(model, layer, target)
        close(explain.feature_maps(model, IMAGES, layer), twin.maps)
        weights = twin.gradients.mean((2, 3), keepdim=True)
        cam = (weights * twin.maps).sum(1, keepdim=True).relu().detach()
        cam = cam / cam.amax((2, 3), keepdim=True).clamp_min(1e-30)
        wanted = nn.functional.interpolate(cam, size=(28, 28), mode="bilinear")[:, 0]
        ours = explain.grad_cam(model, IMAGES, layer=layer, target=target)
        assert ours.shape == (5, 28, 28)
        np.testing.assert_allclose(ours, wanted.numpy(), atol=1e-3)
        positive += int((wanted > 0).any())
    assert positive > 0, "all maps are zero: nothing was compared"


@pytest.mark.parametrize("name", MODELS)
def test_saliency_matches_the_gradient_of_the_score(name: str):
    model = MODELS[name]()
    twin = HookedTwin(model, model.rows[0][0], target=6)
    close(explain.saliency(model, IMAGES, target=6), twin.images.grad)


def test_target_defaults_to_the_prediction_and_may_differ_per_image():
    model = MODELS["session7_net"]()
    predicted = mnistcnn.predict(model, IMAGES).argmax(1)
    assert np.array_equal(explain.saliency(model, IMAGES), explain.saliency(model, IMAGES, target=predicted))
    mixed = explain.grad_cam(model, IMAGES, target=[0, 1, 2, 3, 4])
    for index in range(5):
        single = explain.grad_cam(model, IMAGES[index], target=index)
        np.testing.assert_allclose(mixed[index], single[0], atol=1e-4)


def test_model_is_not_changed():
    model = MODELS["residual"]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    explain.grad_cam(model, IMAGES)
    explain.saliency(model, IMAGES)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_modules_of_torch_are_explained_like_their_models():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    for function in (explain.grad_cam, mnistcnn.plot.grad_cam):
        with pytest.warns(UserWarning, match="Sequential has no normalization") as caught:
            function(module, IMAGES)
        assert [each.filename for each in caught] == [__file__]
    model = mnistcnn.from_torch(module, normalization=mnistcnn.Normalization(0.2, 0.4))
    for call in (
        lambda net: explain.grad_cam(net, IMAGES),
        lambda net: explain.saliency(net, IMAGES),
        lambda net: explain.feature_maps(net, IMAGES, "1"),
        lambda net: explain.receptive_field(net, "0"),
    ):
        np.testing.assert_array_equal(call(module), call(model))
    assert mnistcnn.plot.filters(module).axes
    assert mnistcnn.plot.receptive_field(module, IMAGES[0]).axes
    assert mnistcnn.plot.feature_maps(module, IMAGES[0], "1").axes
    assert mnistcnn.plot.saliency(module, IMAGES).axes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: explain.feature_maps(model, IMAGES, "convblok1"), "has no layer 'convblok1'; did you mean"),
        (lambda model: explain.grad_cam(model, IMAGES, layer="flatten"), r"'flatten' with output \[10\]"),
        (lambda model: explain.grad_cam(model, IMAGES, target=10), "target must be a class from 0 to 9"),
        (lambda model: explain.saliency(model, IMAGES, target=[1, 2]), "one for each of the 5 images, got"),
        (
            lambda model: explain.receptive_field(model, "pool1", (40, 0)),
            r"position must be inside the 11x11 output of .*got \(40, 0\)",
        ),
    ],
)
def test_invalid_arguments_raise(call: Any, message: str):
    with pytest.raises(ValueError, match=message):
        call(MODELS["session7_net"]())


def _pixels_with_gradient(model: mnistcnn.Model, layer: str, position: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the limits of the pixels with a non-zero gradient; positive weights prevent cancellation."""
    node = explain.find_layer(model, layer)
    part = mnistcnn.Model.from_rows(
        [each for each in model.rows[: node + 1] if each[1] != "maxpool2d"], model.input_shape
    )
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.fill_(0.1)
    image = torch.ones(1, *model.input_shape, requires_grad=True)
    part.eval()(image)[0, :, position[0], position[1]].sum().backward()
    rows, columns = np.nonzero(image.grad[0, 0].numpy())
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


@pytest.mark.parametrize("position", [(0, 0), (2, 3), (3, 1)])
def test_receptive_field_matches_gradients(position: tuple[int, int]):
    layers = {
        "a": m.Conv2d(2, 3, padding=1),
        "relu": m.ReLU(),
        "b": m.Conv2d(2, (2, 3), stride=(2, 1), dilation=(2, 1)),
        "pool": m.AvgPool2d(2),
        "wide": m.Residual([m.Conv2d(2, 3, padding="same")]),
        "adapt": m.AdaptiveAvgPool2d((5, 4)),
    }
    model = mnistcnn.Model(layers)
    field = explain.receptive_field(model, "adapt", position)
    clipped = (max(0, field.top), min(27, field.bottom), max(0, field.left), min(27, field.right))
    assert clipped == _pixels_with_gradient(model, "adapt", position)


@pytest.mark.parametrize("position", [(0, 0), (14, 9), (30, 28)])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_receptive_field_of_padding_and_broadcast_inputs_matches_gradients(mode: str, position: tuple[int, int]):
    layers = {
        "a": m.Conv2d(2, 3, padding=1),
        "norm": m.BatchNorm2d(),
        "pad": m.Pad((1, 2, 0, 1), mode),
        "gate": m.Slice(0, 0, 1),  # one channel, which scales both
        "scaled": m.Node(m.Multiply(), inputs=("pad", "gate")),
        "highest": m.Amax(0),
    }
    model = mnistcnn.Model(layers)
    if mode == "constant":  # padding itself does not depend on the image
        position = (min(max(position[0], 1), 28), min(position[1], 27))
    field = explain.receptive_field(model, "highest", position)
    assert (field.bottom - field.top <= 6 and field.right - field.left <= 6) or mode == "circular"
    top, bottom, left, right = _pixels_with_gradient(model, "highest", position)
    assert max(0, field.top) <= top
    assert bottom <= min(27, field.bottom)
    assert max(0, field.left) <= left
    assert right <= min(27, field.right)


def test_receptive_field_visits_each_layer_once():
    """Each of 40 residual blocks doubles the number of paths."""
    block = m.Residual([m.Conv2d(2, 3, padding=1), m.GroupNorm(1)])
    model = mnistcnn.Model([m.Conv2d(2, 1), *[block] * 40])
    last = model.summary().rows[-1].name
    assert explain.receptive_field(model, last, (3, 5)) == (3 - 40, 3 + 40, 5 - 40, 5 + 40)


def test_receptive_field_matches_the_summary():
    model = mnistcnn.create_model("session7_net")
    for row in model.summary().rows:
        if row.receptive_field is not None and len(row.output_shape) == 3:
            field = explain.receptive_field(model, row.name)
            assert field.bottom - field.top + 1 == row.receptive_field, row.name
            assert field.right - field.left + 1 == row.receptive_field, row.name


def test_explanations_under_no_grad():
    model = mnistcnn.create_model("budget_model3", seed=1)
    images = mnistcnn.load("digits")[1][:2]
    for function in (mnistcnn.explain.grad_cam, mnistcnn.explain.saliency):
        with torch.no_grad():
            found = function(model, images)
        np.testing.assert_array_equal(found, function(model, images))


def test_frozen_models_and_models_with_hooks_are_explained():
    """Gradients are taken at the layer's output, so that frozen weights do not matter; hooks are not called."""
    model = MODELS["session7_net"]()
    wanted = explain.grad_cam(model, IMAGES, target=3)
    model.requires_grad_(False)
    calls: list[str] = []
    model.convblock1.register_forward_hook(lambda *_: calls.append("called"))
    np.testing.assert_array_equal(explain.grad_cam(model, IMAGES, target=3), wanted)
    assert not calls


def test_layer_without_influence_on_the_scores():
    layers = {"side": m.Conv2d(2, 3), "flatten": m.Node(m.Flatten(), inputs=("input",)), "fc": m.Linear(10)}
    with pytest.raises(ValueError, match="scores do not depend on layer 'side'"):
        explain.grad_cam(mnistcnn.Model(layers), IMAGES, layer="side")


def test_a_target_must_be_an_integer(digits: Any):
    with pytest.raises(ValueError, match=r"target must be a class from 0 to 9.*2\.7"):
        explain.saliency(mnistcnn.create_model("budget_model3"), digits[1][:2], target=2.7)  # type: ignore[arg-type]
