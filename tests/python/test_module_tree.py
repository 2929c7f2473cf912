"""What PyTorch's habits meet inside a model: they work, or say clearly that they don't."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn

import mnistcnn

IMAGES = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> mnistcnn.Model:
    layers = {
        "conv": mnistcnn.Conv2d(4, 3, bias=False),
        "bn": mnistcnn.BatchNorm2d(),
        "drop": mnistcnn.Dropout(0.5),
        "gap": mnistcnn.AdaptiveAvgPool2d(1),
        "flatten": mnistcnn.Flatten(),
        "fc": mnistcnn.Linear(10),
    }
    return mnistcnn.Model(layers, seed=1)


def test_calls_from_several_threads_run_one_after_another(model: mnistcnn.Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 1, 28, 28), dtype=np.uint8)
    expected = mnistcnn.predict(model, images)
    wrong: list[int] = []

    def work() -> None:
        for turn in range(20):
            if not np.array_equal(mnistcnn.predict(model, images), expected):
                wrong.append(turn)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert not wrong
    assert not any(worker.is_alive() for worker in workers)


def test_functional_call(model: mnistcnn.Model) -> None:
    """It computes with the given tensors, gives them gradients, and leaves the model alone."""
    model.eval()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    others = {name: torch.full_like(parameter, 0.01).requires_grad_() for name, parameter in before.items()}
    outputs = torch.func.functional_call(model, others, (IMAGES,))
    assert not outputs.equal(model(IMAGES))
    outputs.sum().backward()
    assert all(each.grad is not None for each in others.values())
    assert all(parameter.equal(before[name]) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_layers_are_fixed(model: mnistcnn.Model) -> None:
    with pytest.raises(TypeError, match="can't set 'fc': the layers of a Model are fixed"):
        model.fc = nn.Linear(4, 5)
    with pytest.raises(TypeError, match="can't set 'extra'"):
        model.extra = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("layer", "mode", "says"), [("bn", False, "'bn' is in evaluation mode"), ("drop", True, "'drop'")]
)
def test_a_layer_has_no_mode_of_its_own(model: mnistcnn.Model, layer: str, mode: bool, says: str) -> None:
    model.train(not mode)
    model.get_submodule(layer).train(mode)
    with pytest.raises(RuntimeError, match=says):
        model(IMAGES)
    model.train(mode)
    assert model(IMAGES).shape == (8, 10)


def test_a_layer_takes_no_hooks_and_no_calls(model: mnistcnn.Model) -> None:
    with pytest.raises(NotImplementedError, match="hooks work on the whole model only"):
        model.get_submodule("fc").register_forward_hook(print)
    with pytest.raises(NotImplementedError, match="call the whole model"):
        nn.Sequential(*list(model.children())[:-1])(IMAGES)


def test_hooks_on_the_whole_model_fire(model: mnistcnn.Model) -> None:
    seen: list[torch.Size] = []
    model.register_forward_hook(lambda _, __, outputs: seen.append(outputs.shape))
    model(IMAGES)
    assert seen == [torch.Size([8, 10])]


class Doubled(mnistcnn.Model):
    def __init__(self) -> None:
        super().__init__([mnistcnn.Flatten(), mnistcnn.Linear(10)])

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


def test_under_torch_compile_it_runs_as_it_is(model: mnistcnn.Model) -> None:
    model.eval()
    compiled = torch.compile(model, backend="eager")
    for _ in range(12):
        assert compiled(IMAGES).equal(model(IMAGES))


def test_what_is_no_image_is_refused_by_name(model: mnistcnn.Model) -> None:
    images = mnistcnn.ImageSet.from_arrays(np.zeros((2, 1, 28, 28), np.uint8), [0, 1])
    with pytest.raises(TypeError, match=r"got ImageSet; mnistcnn.predict takes an ImageSet"):
        model(images)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got NoneType"):
        model(None)  # type: ignore[arg-type]
