"""test and predict: results compared with slow references, accepted shapes of images, and errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from mnistcnn._internal.progress import ProgressBar
from mnistcnn.layers import Flatten, Linear, LogSoftmax, Softmax
from reference import Twin, pixels_as_input
from runs import fit, small, weights

# ---- loss and outputs


def test_model_with_probabilities_as_outputs(data: Any):
    model = mnistcnn.Model([Flatten(), Linear(10), Softmax()], name="soft")
    with pytest.raises(ValueError, match=r"model 'soft'.*Softmax.*LogSoftmax"):
        fit(model, data)
    history = fit(model, data, epochs=2, loss="cross_entropy", optimizer=mnistcnn.optim.SGD(lr=0.5))
    assert history.last.train_loss < history[0].train_loss
    result = mnistcnn.test(model, data, progress=False)
    np.testing.assert_allclose(result.probabilities.sum(1), 1, atol=1e-5)
    chosen = result.probabilities[np.arange(len(data)), data.labels].astype(np.float64)
    assert result.loss == pytest.approx(-np.log(chosen).mean(), rel=1e-5)


@pytest.mark.parametrize(
    "last", [[], [LogSoftmax()], [Softmax()]], ids=["logits", "log-probabilities", "probabilities"]
)
def test_test_loss_is_the_negative_log_likelihood(last: list[Any], data: Any):
    model = mnistcnn.Model([Flatten(), Linear(10), *last], seed=3)
    logits = Twin(mnistcnn.Model([Flatten(), Linear(10)], seed=3))(pixels_as_input(model, data.images))
    result = mnistcnn.test(model, data, progress=False)
    assert result.loss == pytest.approx(F.cross_entropy(logits, torch.tensor(data.labels)).item(), rel=1e-5)
    np.testing.assert_allclose(result.probabilities, logits.softmax(1).detach().numpy(), atol=1e-5)
    assert (result.predictions == logits.argmax(1).numpy()).all()


def test_nan_outputs_warn(data: Any):
    model = small(7)
    with torch.no_grad():
        next(iter(model.parameters())).fill_(float("nan"))
    with pytest.warns(UserWarning, match=f"NaN or infinite for {len(data):,} of {len(data):,} images") as caught:
        mnistcnn.test(model, data, progress=False)
    assert [each.filename for each in caught] == [__file__]


def test_module_without_normalization_warns(data: Any, tmp_path: Path):
    pytest.importorskip("onnx")
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    uses: list[Callable[[], object]] = [
        lambda: mnistcnn.test(module, data, progress=False),
        lambda: mnistcnn.predict(module, data),
        lambda: mnistcnn.export_html(module, tmp_path / "a.html"),
        lambda: mnistcnn.export_c(module, tmp_path / "a.h"),
        lambda: mnistcnn.export_onnx(module, tmp_path / "a.onnx", pixels=True),
    ]
    for use in uses:
        with pytest.warns(UserWarning, match=r"Sequential has no normalization.*from_torch") as caught:
            use()
        assert [each.filename for each in caught] == [__file__]
    mnistcnn.predict(module, data.images / np.float32(255))  # floats are not normalized
    mnistcnn.export_onnx(module, tmp_path / "b.onnx")
    mnistcnn.from_torch(module, normalization=mnistcnn.Normalization(0.5, 0.25))
    for use in uses:
        use()
    floats = (data.images / np.float32(255) - 0.5) / np.float32(0.25)
    np.testing.assert_allclose(mnistcnn.predict(module, data), mnistcnn.predict(module, floats), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("largest", [1, 255])
def test_float_pixels_warn(largest: int, dtype: torch.dtype, data: Any):
    model, pixels = small(7), torch.tensor(data.images[:9])
    model.normalization = mnistcnn.Normalization(0.1307, 0.3081)
    with pytest.warns(UserWarning, match=rf"look like pixels from 0 to {largest}; pass uint8 pixels") as caught:
        mnistcnn.predict(model, (pixels * (largest / 255)).to(dtype))
    assert [each.filename for each in caught] == [__file__]


def test_normalized_images_do_not_warn(data: Any):
    model, zeros = small(7), np.zeros((2, 1, 28, 28), np.float32)
    for normalization in (mnistcnn.Normalization(0.1307, 0.3081), mnistcnn.Normalization(0.5, 0.5)):
        model.normalization = normalization
        for pixels in (data.images[:9], data.images[:1] // 2 + 128, np.full_like(data.images[:1], 255)):
            mnistcnn.predict(model, (pixels / np.float32(255) - normalization.mean[0]) / normalization.std[0])
        mnistcnn.predict(model, zeros)
        mnistcnn.predict(model, zeros + np.nan)
    for normalization in (None, mnistcnn.Normalization(0, 1)):
        model.normalization = normalization
        mnistcnn.predict(model, data.images[:9] / 255)


@pytest.mark.parametrize("last", [[LogSoftmax()], [Softmax()]], ids=["log-probabilities", "probabilities"])
def test_zero_probability_does_not_warn(last: list[Any], data: Any):
    model = mnistcnn.Model([Flatten(), Linear(10), *last], seed=3)
    with torch.no_grad():
        model.get_parameter("1.bias")[0] = -1e30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mnistcnn.test(model, data, progress=False).probabilities[:, 0].max() == 0


def test_test_result_matches_a_slow_reference(data: Any):
    model = small(7)
    result = mnistcnn.test(model, data, progress=False)
    probabilities = mnistcnn.predict(model, data)
    np.testing.assert_array_equal(result.probabilities, probabilities)
    np.testing.assert_array_equal(result.predictions, probabilities.argmax(1))
    np.testing.assert_array_equal(result.labels, data.labels)
    counted = np.zeros((10, 10), int)
    for label, prediction in zip(data.labels, result.predictions, strict=True):
        counted[label, prediction] += 1
    np.testing.assert_array_equal(result.confusion, counted)
    assert (result.count, result.correct) == (300, counted.trace())
    assert result.accuracy == counted.trace() / 300
    for index, score in enumerate(result.per_class):
        hits = sum(p == index == y for p, y in zip(result.predictions, data.labels, strict=True))
        predicted, actual = (result.predictions == index).sum(), (data.labels == index).sum()
        assert (score.name, score.count) == (data.classes[index], actual)
        assert score.recall == pytest.approx(hits / actual)
        assert score.precision == pytest.approx(hits / predicted if predicted else float("nan"), nan_ok=True)
        if hits:
            assert score.f1 == pytest.approx(2 / (1 / score.precision + 1 / score.recall))


def test_test_does_not_change_the_model(data: Any):
    model = mnistcnn.create_model("assignment7_model4").train()
    before = weights(model)
    results = [mnistcnn.test(model, data, batch_size=size, progress=False) for size in (512, 7)]
    assert torch.equal(weights(model), before)
    assert model.training
    np.testing.assert_allclose(results[0].probabilities, results[1].probabilities, atol=1e-5)


def test_predict_accepts_all_shapes(data: Any):
    model = mnistcnn.create_model("session7_net2")
    wanted = mnistcnn.predict(model, data)
    assert (wanted.shape, wanted.dtype) == ((300, 10), np.float32)
    np.testing.assert_allclose(wanted.sum(1), 1, atol=1e-5)
    images = data.images
    normalized = pixels_as_input(model, images)
    same: list[tuple[Any, Any]] = [
        (images, wanted),
        (images[:, 0], wanted),
        (images[3], wanted[3:4]),
        (images[3, 0], wanted[3:4]),
        (torch.tensor(images), wanted),
        (images[:, :, ::-1][:, :, ::-1], wanted),
        (normalized, wanted),
        (normalized.numpy().astype(np.float64), wanted),
    ]
    for given, expected in same:
        for batch_size in (512, 64):
            found = mnistcnn.predict(model, given, batch_size=batch_size)
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "error", "text"),
    [
        (
            np.zeros((2, 3, 28, 28), np.uint8),
            ValueError,
            r"images.* \[N, 1, 28, 28\], got \[2, 3, 28, 28\]",
        ),
        (np.zeros((0, 1, 28, 28), np.uint8), ValueError, r"got \[0, 1, 28, 28\]"),
        ("seven.png", TypeError, r"got 'seven.png'.*mnistcnn.as_digit\(path\)"),
        (np.zeros((2, 1, 28, 28), np.int32), TypeError, "images must be .*got torch.int32"),
        ((np.zeros((1, 28, 28), np.uint8), 7), TypeError, r"images must be .*got tuple; .*\(image, label\)"),
        (["3.png", Path("7.png")], TypeError, r"got list; read image files with mnistcnn\.as_digits\(paths\)"),
        (None, TypeError, "images must be .*got NoneType$"),
    ],
)
def test_predict_raises_for_invalid_images(images: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        mnistcnn.predict(small(), images)


def test_batch_size_zero_raises(data: Any):
    for call in (mnistcnn.predict, mnistcnn.test):
        with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
            call(small(), data, batch_size=0)


def test_predict_of_float_images_in_batches(data: Any):
    floats = data.images[:20] / np.float32(255) - np.float32(0.5)
    expected = mnistcnn.predict(small(), floats)
    np.testing.assert_allclose(mnistcnn.predict(small(), floats, batch_size=np.int64(7)), expected, rtol=1e-5)


def test_backward_after_an_interrupted_prediction(digits: Any, monkeypatch: pytest.MonkeyPatch):
    model = mnistcnn.create_model("budget_model3", seed=1).eval()
    images = digits[1].images[:8]
    expected = torch.autograd.grad(model(torch.tensor(images)).sum(), model.get_parameter("conv1.weight"))[0]
    outputs = model(torch.tensor(images))

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "show", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mnistcnn.predict(model, digits[1].images, progress=True)
    found = torch.autograd.grad(outputs.sum(), model.get_parameter("conv1.weight"))[0]
    assert torch.equal(found, expected)
