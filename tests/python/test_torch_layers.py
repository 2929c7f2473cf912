"""A model consists of layers of torch.nn and supports the usual operations on such a module."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import mnistcnn
from isolated import run_in_threads

IMAGES = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> mnistcnn.Model:
    layers = {
        "conv": mnistcnn.layers.Conv2d(4, 3, bias=False),
        "bn": mnistcnn.layers.BatchNorm2d(),
        "drop": mnistcnn.layers.Dropout(0.5),
        "gap": mnistcnn.layers.AdaptiveAvgPool2d(1),
        "flatten": mnistcnn.layers.Flatten(),
        "fc": mnistcnn.layers.Linear(10),
    }
    return mnistcnn.Model(layers, seed=1)


def test_calls_from_several_threads_run_one_after_another(model: mnistcnn.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 1, 28, 28), dtype=np.uint8)
    expected = mnistcnn.predict(model, images)

    def work() -> None:
        for _ in range(20):
            assert np.array_equal(mnistcnn.predict(model, images), expected)

    run_in_threads([work] * 3)


def test_functional_call(model: mnistcnn.Model) -> None:
    """It computes with the given tensors, gives them gradients, and does not change the model."""
    model.eval()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    others = {name: torch.full_like(parameter, 0.01).requires_grad_() for name, parameter in before.items()}
    outputs = torch.func.functional_call(model, others, (IMAGES,))
    assert not outputs.equal(model(IMAGES))
    outputs.sum().backward()
    assert all(each.grad is not None for each in others.values())
    assert all(parameter.equal(before[name]) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_layers_are_torch_modules() -> None:
    model = mnistcnn.create_model("session7_net")
    kinds = [type(each) for each in model.modules()]
    assert kinds.count(nn.Conv2d) == 10
    assert nn.BatchNorm2d in kinds
    assert nn.ReLU in kinds
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def test_creating_a_model_does_not_use_the_random_state() -> None:
    before = torch.random.get_rng_state()
    mnistcnn.create_model("session7_net")
    assert torch.random.get_rng_state().equal(before)


@pytest.mark.parametrize("name", ["session7_net", "budget_model1", "assignment7_model8", "recognition_cnn"])
def test_the_layers_match_the_engine(name: str) -> None:
    """PyTorch sums in another order: a relative difference of about 1e-6."""
    model = mnistcnn.create_model(name, seed=1).eval()
    images = torch.rand(5, *model.input_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model(images)
        layer = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
        handle = layer.register_forward_hook(lambda *_: None)
        with pytest.warns(mnistcnn.EngineWarning, match="hooks on"):
            found = model(images)
        handle.remove()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_apply_initialises_the_layers(model: mnistcnn.Model) -> None:
    def initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, 0.5)

    before = model.eval()(IMAGES)
    model.apply(initialise)
    assert (model.get_parameter("conv.weight") == 0.5).all()
    assert not model(IMAGES).equal(before)


def test_hooks_on_a_layer_are_called(model: mnistcnn.Model) -> None:
    model.eval()
    wanted = model(IMAGES)
    seen: list[torch.Size] = []
    handle = model.get_submodule("fc").register_forward_hook(lambda _, __, outputs: seen.append(outputs.shape))
    with pytest.warns(mnistcnn.EngineWarning, match="there are hooks on 'fc'"):
        torch.testing.assert_close(model(IMAGES), wanted)
    model(IMAGES)  # the warning is emitted once
    assert seen == [torch.Size([8, 10])] * 2
    handle.remove()
    assert model(IMAGES).equal(wanted)
    assert len(seen) == 2


def test_a_replaced_layer_is_used(model: mnistcnn.Model) -> None:
    model.fc = nn.Linear(4, 5)
    with pytest.warns(mnistcnn.EngineWarning, match="'fc' was replaced"):
        assert model.eval()(IMAGES).shape == (8, 5)


def test_a_changed_setting_is_used(model: mnistcnn.Model) -> None:
    model.get_submodule("drop").p = 1.0
    with pytest.warns(mnistcnn.EngineWarning, match=r"'drop\.p' was changed"):
        outputs = model(IMAGES)
    torch.testing.assert_close(outputs, model.get_parameter("fc.bias").expand(8, 10))


@pytest.mark.parametrize(("layer", "mode"), [("bn", False), ("drop", True)])
def test_a_layer_may_be_in_another_mode(model: mnistcnn.Model, layer: str, mode: bool) -> None:
    model.train(not mode)
    model.get_submodule(layer).train(mode)
    with pytest.warns(mnistcnn.EngineWarning, match=f"'{layer}' is in another mode"):
        outputs = model(IMAGES)
    assert outputs.shape == (8, 10)
    counted = int(model.get_buffer("bn.num_batches_tracked"))
    assert counted == (0 if layer == "bn" or mode else 1)


def test_native_runs_raise_for_hooks(model: mnistcnn.Model) -> None:
    images = mnistcnn.ImageSet.from_arrays(np.zeros((20, 1, 28, 28), np.uint8), np.arange(20) % 10)
    handle = model.get_submodule("fc").register_forward_hook(lambda *_: None)
    for run in (
        lambda: mnistcnn.train(model, images, epochs=1, progress=False),
        lambda: mnistcnn.test(model, images, progress=False),
        lambda: mnistcnn.predict(model, images),
        lambda: mnistcnn.predict(model, IMAGES),
    ):
        with pytest.raises(ValueError, match="there are hooks on 'fc'"):
            run()
    handle.remove()
    assert len(mnistcnn.predict(model, images)) == 20


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*quantize.* deprecated:UserWarning")
def test_dynamic_quantisation(model: mnistcnn.Model) -> None:
    model.eval()
    wanted = model(IMAGES)
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    with pytest.warns(mnistcnn.EngineWarning, match="'fc' was replaced"):
        torch.testing.assert_close(quantised(IMAGES), wanted, rtol=0.1, atol=0.05)  # 8-bit weights


def test_hooks_on_the_model_are_called(model: mnistcnn.Model) -> None:
    seen: list[torch.Size] = []
    model.register_forward_hook(lambda _, __, outputs: seen.append(outputs.shape))
    model(IMAGES)
    assert seen == [torch.Size([8, 10])]


class Doubled(mnistcnn.Model):
    def __init__(self) -> None:
        super().__init__([mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(images)


def test_copies_keep_their_class_weights_and_history() -> None:
    model = Doubled()
    model.history = mnistcnn.History("kept")
    model(IMAGES).sum().backward()
    copied = copy.deepcopy(model)
    assert type(copied) is Doubled
    assert copied(IMAGES).equal(model(IMAGES))
    assert copied.history == model.history
    assert copied.history is not model.history
    for mine, its in zip(model.parameters(), copied.parameters(), strict=True):
        assert its.equal(mine)
        assert its is not mine
    assert type(pickle.loads(pickle.dumps(model))) is Doubled


@pytest.mark.parametrize("change", ["to", "engine"])
def test_backward_after_the_engine_has_changed(model: mnistcnn.Model, change: str) -> None:
    def gradients(between: bool) -> torch.Tensor:
        model.zero_grad()
        torch.manual_seed(3)
        loss = model(IMAGES).square().sum()
        if between and change == "to":
            model.to("cpu")
        elif between:
            model.engine = "aten"
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])

    torch.testing.assert_close(gradients(between=True), gradients(between=False), rtol=1e-4, atol=1e-5)


def test_torch_compile_runs_the_layers(model: mnistcnn.Model) -> None:
    model.eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for _ in range(3):
        torch.testing.assert_close(compiled(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)


def test_inputs_that_are_not_images_raise(model: mnistcnn.Model) -> None:
    images = mnistcnn.ImageSet.from_arrays(np.zeros((2, 1, 28, 28), np.uint8), [0, 1])
    with pytest.raises(TypeError, match=r"got ImageSet;.*mnistcnn\.predict"):
        model(images)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got NoneType"):
        model(None)  # type: ignore[arg-type]
