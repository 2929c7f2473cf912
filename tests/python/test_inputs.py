"""Input shapes of ``forward``, and the advice for ``forward`` methods that fail on the images."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from mnistcnn.convert.inputs import InputSpec, input_spec

pytestmark = pytest.mark.usefixtures("torch_randomness_restored")
IMAGES = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(3))


class Rows(nn.Module):
    """Network whose training loop passes ``images.view(-1, 784)``."""

    def __init__(self, features: int = 784) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(features, 16), nn.BatchNorm1d(16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.relu(self.norm(self.fc1(x))))


class NoChannel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 7, 3), nn.Linear(128, 10)

    def forward(self, pictures: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self.fc(self.conv(pictures.unsqueeze(1)).flatten(1)) * scale


def test_the_input_spec_of_a_shape():
    assert input_spec((1, 28, 28)) == InputSpec((1, 28, 28), ((1, 28, 28), (784,), (28, 28)))
    assert input_spec([3, 32, 30]) == InputSpec((3, 32, 30), ((3, 32, 30), (2880,)))
    assert input_spec((784,)) == InputSpec((1, 28, 28), ((784,),))
    assert input_spec((200,)) == InputSpec((1, 1, 200), ((200,),))
    assert input_spec((28, 30)) == InputSpec((1, 28, 30), ((28, 30),))


@pytest.mark.parametrize("shape", [(1, 28, 28), (784,)])
def test_a_training_loop_with_flat_images(shape: tuple[int, ...]):
    torch.manual_seed(2)
    module = Rows()
    net = mnistcnn.accelerate(copy.deepcopy(module), shape)
    labels = torch.arange(6)
    losses = []
    for each in (module, net):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            loss = F.cross_entropy(each(IMAGES.view(-1, 784)), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[5:] == pytest.approx(losses[:5], rel=1e-4)
    torch.testing.assert_close(net.eval()(IMAGES), module.eval()(IMAGES.view(-1, 784)))


@pytest.mark.parametrize(("module", "form"), [(Rows(), (784,)), (NoChannel(), (28, 28))])
def test_nchw_images_are_accepted(module: nn.Module, form: tuple[int, ...]):
    """In the engine and in PyTorch, as float32 and as uint8."""
    model = mnistcnn.accelerate(module.eval(), form)
    expected = module.forward(IMAGES.reshape(6, *form))
    pixels = IMAGES.abs().mul(60).to(torch.uint8)
    of_pixels = module.forward(pixels.reshape(6, *form) / 255)
    hook = None
    for _ in range(2):
        torch.testing.assert_close(model(IMAGES), expected)
        torch.testing.assert_close(model(IMAGES.reshape(6, *form)), expected)
        torch.testing.assert_close(model(pixels), of_pixels)
        torch.testing.assert_close(model(pixels.reshape(6, *form)), of_pixels)
        if hook is None:
            hook = next(iter(module.children())).register_forward_hook(lambda *_: None)
            with pytest.warns(mnistcnn.EngineWarning, match="there are hooks"):
                model(IMAGES)
    hook.remove()
    with (
        pytest.warns(mnistcnn.EngineWarning, match="its images are not"),
        pytest.raises(ValueError, match=r"takes images \[N, 1, 28, 28\].* got \[6, 27, 28\]"),
    ):
        model(pixels[:, 0, 1:])


def test_keyword_and_additional_arguments():
    module = NoChannel()
    model = mnistcnn.accelerate(module)
    wanted = module(IMAGES[:, 0])
    torch.testing.assert_close(model(pictures=IMAGES[:, 0]), wanted)
    with pytest.warns(mnistcnn.EngineWarning, match="other arguments than one batch of images"):
        torch.testing.assert_close(model(IMAGES[:, 0], scale=2.0), 2 * wanted)


def test_a_number_of_features_that_is_not_square():
    module = Rows(200).eval()
    rows = torch.rand(5, 200)
    torch.testing.assert_close(mnistcnn.accelerate(module, (200,))(rows), module.forward(rows))


def test_train_test_predict_save_and_copy(digits: Any, tmp_path: Any):
    train_set, test_set = digits
    module = Rows()
    model = mnistcnn.from_torch(module, input_shape=(784,))
    mnistcnn.train(model, train_set[:2000], epochs=3, batch_size=50, progress=False)
    assert mnistcnn.test(model, test_set[:200], progress=False).accuracy > 0.6
    rows = model.prepare(test_set[:20].images).flatten(1)
    wanted = module.eval()(rows)
    torch.testing.assert_close(torch.from_numpy(mnistcnn.predict(module, test_set[:20])), wanted.softmax(1).detach())
    torch.testing.assert_close(model.to_torch().eval()(rows), wanted)
    loaded = mnistcnn.load_model(model.save(tmp_path / "rows.safetensors")).eval()
    torch.testing.assert_close(loaded(rows.view(20, 1, 28, 28)), wanted)
    torch.testing.assert_close(copy.deepcopy(model).eval()(rows.view(20, 1, 28, 28)), wanted)


class Counted(nn.Module):
    """Network with a hard-coded batch size."""

    def __init__(self, count: int, *, rows: bool) -> None:
        super().__init__()
        self.batch_size, self.rows = count, rows
        self.conv, self.fc = nn.Conv2d(1, 2, 5), nn.Linear(784 if rows else 2 * 24 * 24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x if self.rows else self.conv(x)
        return self.fc(x).view(self.batch_size, 10) if self.rows else self.fc(x.view(self.batch_size, -1))


@pytest.mark.parametrize("count", [1, 5, 7, 64])
@pytest.mark.parametrize("rows", [False, True])
def test_a_hard_coded_batch_size_is_reported(count: int, rows: bool):
    form, tried = ("784" if rows else "1, 28, 28"), (3 if count == 5 else 5)
    with pytest.raises(
        mnistcnn.ConversionError,
        match=rf"^test_inputs.py:\d+: return self.fc.*: the `forward` of Counted fails on images \[N, {form}\] with "
        rf"N = {tried}: RuntimeError: .*It accepts batches of {count}: .*use x.size\(0\)",
    ):
        mnistcnn.from_torch(Counted(count, rows=rows))


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        (Rows(196), r"rows of 196 features: input_shape=\(196,\)"),
        (Rows(1024), r"rows of 1024 features: input_shape=\(1024,\)"),
        (
            nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten(), nn.Linear(1568, 10)),
            r"images of \(1, 32, 32\): input_shape=",
        ),
        (nn.Conv2d(3, 2, 1), r"images of \(3, 32, 32\): input_shape=\(3, 32, 32\)"),
    ],
)
def test_an_accepted_shape_is_suggested(module: nn.Module, hint: str):
    modes = [each.training for each in module.modules()]
    with pytest.raises(mnistcnn.ConversionError, match=rf"fails on images \[N, 1, 28, 28\].*\. It accepts {hint}"):
        mnistcnn.from_torch(module)
    assert [each.training for each in module.modules()] == modes


def test_only_the_given_shape_is_tried():
    with pytest.raises(
        mnistcnn.ConversionError, match=r"fails on images \[N, 784\].*It accepts images of \(1, 28, 28\)"
    ):
        mnistcnn.from_torch(nn.Sequential(nn.Conv2d(1, 2, 28), nn.Flatten()), (784,))


def test_results_of_torch_export_raise():
    program = torch.export.export(Rows().eval(), (IMAGES.flatten(1),))
    with pytest.raises(mnistcnn.ConversionError, match=r"made by torch\.export; pass the module that was exported"):
        mnistcnn.from_torch(program.module())
    with pytest.raises(TypeError, match="got ExportedProgram; pass the module"):
        mnistcnn.from_torch(program)


def test_a_module_traced_by_torch_fx():
    module = Rows().eval()
    traced = mnistcnn.from_torch(torch.fx.symbolic_trace(module)).eval()
    torch.testing.assert_close(traced(IMAGES), module(IMAGES.flatten(1)))


def test_train_uses_the_converted_input_shape(digits: Any):
    """`train` uses the input shape of the latest conversion."""
    module = Rows(49)
    small = mnistcnn.ImageSet(digits[0].images[:100, :, ::4, ::4], digits[0].labels[:100], digits[0].classes)
    model = mnistcnn.from_torch(module, (49,))
    history = mnistcnn.train(module, small, epochs=1, batch_size=50, progress=False)
    assert model.history is history
    module.fc2 = nn.Linear(16, 10)
    mnistcnn.train(module, small, epochs=1, progress=False)  # converted again, in the same shape
    assert mnistcnn.from_torch(module, (49,)) is not model
