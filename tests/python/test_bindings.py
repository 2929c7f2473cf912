"""The private bindings check dtype, layout and shape of every array: they never read out of bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from isolated import run_script
from mnistcnn._internal.native import core
from mnistcnn.layers import Conv2d, Flatten, Linear, LogSoftmax
from mnistcnn.nn.input_checks import model_view
from mnistcnn.optim import averaging, losses, optimizers
from mnistcnn.transforms.steps import native as augmentation
from runs import small


def classifier(classes: int = 10, side: int = 8) -> mnistcnn.Model:
    return mnistcnn.Model([Conv2d(2, 3), Flatten(), Linear(classes), LogSoftmax()], (1, side, side), seed=1)


MODEL = classifier()
OUTPUTS, LABELS, IMAGES = torch.zeros(4, 10), torch.zeros(4, dtype=torch.int64), torch.zeros(4, 1, 8, 8)


def shrunk(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy whose storage has been freed."""
    copy = tensor.clone()
    copy.untyped_storage().resize_(0)
    return copy


# Tensors that must not be accepted in the place of a contiguous f32 [4, 10] tensor.
WRONG_OUTPUTS = {
    "double": OUTPUTS.double(),
    "expanded": torch.zeros(1, 1).expand(4, 10),
    "strided": torch.zeros(4, 20)[:, ::2],
    "flat": torch.zeros(40),
    "scalar": torch.zeros(()),
    "empty": torch.zeros(0, 10),
    "no classes": torch.zeros(4, 0),
    "shrunk": shrunk(OUTPUTS),
    "sparse": OUTPUTS.to_sparse(),
}
WRONG_LABELS = {
    "int32": LABELS.int(),
    "expanded": torch.zeros(1, dtype=torch.int64).expand(4),
    "short": LABELS[:3],
    "matrix": LABELS[:, None],
    "shrunk": shrunk(LABELS),
    "out of range": torch.tensor([0, 1, 2, 10]),
}
WRONG_IMAGES = {
    "double": IMAGES.double(),
    "bytes": IMAGES.to(torch.uint8),
    "small": torch.zeros(4, 1, 7, 8),
    "flat": torch.zeros(4, 64),
    "one image": torch.zeros(1, 8, 8),
    "scalar": torch.zeros(()),
    "shrunk": shrunk(IMAGES),
    "sparse": IMAGES.to_sparse(),
}


def loss(outputs: Any = OUTPUTS, labels: Any = LABELS, kind: Any = "auto", **options: Any) -> Any:
    return core.testing.loss_and_gradients(losses.native(kind, MODEL), outputs, labels, **options)


def forward(engine: str, images: torch.Tensor, **options: Any) -> Any:
    native = core.Engine(MODEL._network, engine, 1)
    settings = {"training": False, "seed": 0, "keep": False, "keep_images": False, **options}
    return native.forward(MODEL.tensors(), images, **settings)


def backward(engine: str, output_gradients: Any = OUTPUTS, parameters: Any = None) -> Any:
    native = core.Engine(MODEL._network, engine, 1)
    native.forward(MODEL.tensors(), IMAGES, training=True, seed=0, keep=True, keep_images=True)
    return native.backward(MODEL.tensors()[0] if parameters is None else parameters, output_gradients)


def with_first(parameter: torch.Tensor) -> list[torch.Tensor]:
    return [parameter, *MODEL.tensors()[0][1:]]


def distilled(teacher: mnistcnn.Model, images: torch.Tensor, channels: int = 1) -> Any:
    view = core.ModelView(teacher.tensors, core.Engine(teacher._network, "lanes", 1), scale=[1.0], shift=[0.0])
    taught = core.Loss(
        "nll", label_smoothing=0, class_weights=[], teachers=[view], temperature=2.0, teachers_weight=0.5
    )
    return core.testing.loss_and_gradients(
        taught, OUTPUTS, LABELS, images=images, scale=[1.0] * channels, shift=[0.0] * channels
    )


def optimizer_step(values: torch.Tensor, gradients: torch.Tensor) -> None:
    optimizer = core.testing.Optimizer(
        MODEL._network, optimizers.settings(mnistcnn.optim.SGD()), trainable=[], undecayed=[]
    )
    optimizer.step(values, gradients, learning_rate=0.1, momentum=None)


def loader(images: np.ndarray[Any, Any], **options: Any) -> Any:
    settings = {"batch_size": 2, "seed": 0, "epoch": 0, "shuffle": False, "drop_last": False, "raw": True}
    settings |= {"prefetch": 0, "scale": [1.0], "shift": [0.0], **options}
    return core.Loader(images, np.zeros(len(images), np.int64), augmentation(()), **settings)  # type: ignore[arg-type]


def train_on_another_model() -> None:
    """Train a model with more classes than the run has class weights."""
    weights = losses.native(mnistcnn.losses.NLL(class_weights=[1.0] * 10), MODEL)
    settings = optimizers.settings(mnistcnn.optim.SGD())
    run = core.TrainingRun(
        model_view(MODEL), batch_size=4, seed=0, shuffle=False, optimizer=settings, undecayed=[], loss=weights
    )
    labels = torch.full((4,), 90_000)
    images = IMAGES.to(torch.uint8)
    run.next_epoch(model_view(classifier(100_000)), images, labels, learning_rates=[0.1], trainable=[])


PARAMETERS = MODEL._network.parameter_count
FLAT = torch.zeros(PARAMETERS)
BYTES = np.zeros((2, 1, 8, 8), np.uint8)
INDICES = np.zeros(1, np.int64)
RESIZE = [mnistcnn.transforms.Resize(4)]

CASES: dict[str, Callable[[], Any]] = {
    **{f"score: {k} outputs": lambda v=v: core.score(v, LABELS, kind="logits") for k, v in WRONG_OUTPUTS.items()},
    **{f"score: {k} labels": lambda v=v: core.score(OUTPUTS, v, kind="logits") for k, v in WRONG_LABELS.items()},
    "score: no images": lambda: core.score(OUTPUTS[:0], LABELS[:0], kind="logits"),
    **{f"loss: {k} outputs": lambda v=v: loss(v) for k, v in WRONG_OUTPUTS.items()},
    **{f"loss: {k} labels": lambda v=v: loss(labels=v) for k, v in WRONG_LABELS.items()},
    **{f"loss: {k} partners": lambda v=v: loss(partners=v, share=0.4) for k, v in WRONG_LABELS.items()},
    "loss: no images": lambda: loss(OUTPUTS[:0], LABELS[:0]),
    "loss: class weights": lambda: loss(
        OUTPUTS[:, :8].contiguous(), kind=mnistcnn.losses.NLL(class_weights=[1.0] * 10)
    ),
    **{f"teacher: {k} images": lambda v=v: distilled(MODEL, v) for k, v in WRONG_IMAGES.items()},
    "teacher: number of images": lambda: distilled(MODEL, IMAGES[:3]),
    "teacher: number of classes": lambda: distilled(classifier(5), IMAGES),
    "teacher: size": lambda: distilled(classifier(side=9), IMAGES),
    "teacher: number of channels": lambda: distilled(MODEL, IMAGES, channels=10_000),
    **{
        f"forward in {engine}: {k} images": lambda v=v, engine=engine: forward(engine, v)
        for k, v in WRONG_IMAGES.items()
        for engine in ("lanes", "aten")
    },
    **{
        f"backward in {engine}: {k} gradients": lambda v=v, engine=engine: backward(engine, v)
        for k, v in WRONG_OUTPUTS.items()
        if k not in ("expanded", "strided")
        for engine in ("lanes", "aten")
    },
    "backward: small parameter": lambda: backward("lanes", parameters=with_first(torch.zeros(1, 1, 3, 3))),
    "backward: shrunk parameter": lambda: backward("lanes", parameters=with_first(shrunk(torch.zeros(2, 1, 3, 3)))),
    "backward: double parameter": lambda: backward("lanes", parameters=with_first(torch.zeros(2, 1, 3, 3).double())),
    "backward: no parameters": lambda: backward("lanes", parameters=[]),
    "optimizer: short": lambda: optimizer_step(FLAT[1:], FLAT[1:]),
    "optimizer: different sizes": lambda: optimizer_step(FLAT, FLAT[1:]),
    "optimizer: expanded": lambda: optimizer_step(FLAT, torch.zeros(1).expand(PARAMETERS)),
    "optimizer: shrunk": lambda: optimizer_step(FLAT, shrunk(FLAT)),
    "averaging: every=0": lambda: core.Averaging(
        MODEL._network, MODEL.tensors(), {**(averaging.settings(mnistcnn.optim.EMA()) or {}), "every": 0}
    ),
    "mixing: no images": lambda: core.testing.mixing_plan(
        core.Mixing("mixup", alpha=1.0), seed=0, step=0, count=0, height=8, width=8
    ),
    "mixing: no rows": lambda: core.testing.mixing_plan(
        core.Mixing("cutmix", alpha=1.0), seed=0, step=0, count=2, height=0, width=8
    ),
    "schedule: step_size=0": lambda: core.Schedule("StepLR", {"step_size": 0, "gamma": 0.1}),
    "augmentation: one image": lambda: augmentation(()).run(BYTES[0], INDICES, seed=0, epoch=0, threads=1),
    "augmentation: flat": lambda: augmentation(()).run(BYTES.ravel(), INDICES, seed=0, epoch=0, threads=1),
    "augmentation: first step": lambda: core.testing.apply_first(
        augmentation([mnistcnn.transforms.Rotation(5)]), BYTES[0, 0], [3]
    ),
    "augmentation: no rows": lambda: augmentation(RESIZE).run(BYTES[:, :, :0], INDICES, seed=0, epoch=0, threads=1),
    "augmentation: no columns": lambda: augmentation(RESIZE).output_shape((1, 8, 0)),
    "augmentation: no channels": lambda: augmentation(RESIZE).output_shape((0, 8, 8)),
    "augmentation: huge image": lambda: augmentation(()).output_shape((1, 2**40, 2**40)),
    "augmentation: parameters": lambda: augmentation(RESIZE).sample_parameters((1, 0, 8), seed=0, epoch=0, index=0),
    "loader: no rows": lambda: loader(BYTES[:, :, :0]),
    "loader: one image": lambda: loader(BYTES[0]),
    "loader: five dimensions": lambda: loader(BYTES[None]),
    "loader: batch_size=0": lambda: len(loader(BYTES, batch_size=0)),
    "memory: images": lambda: core.memory_bytes_of_step(core.Engine(MODEL._network, "lanes", 1), 2**62),
    "class weights of another model": train_on_another_model,
}


def print_errors() -> None:
    for name, call in CASES.items():
        try:
            call()
        except Exception as error:
            print(f"{name}; {type(error).__name__}; {str(error).splitlines()[0]}", flush=True)
        else:
            print(f"{name}; accepted; ", flush=True)


@pytest.fixture(scope="module")
def errors() -> dict[str, tuple[str, str]]:
    """Return type and text of the error of each case. A new process runs them, because a wrong read may end it."""
    result = run_script("import test_bindings; test_bindings.print_errors()")
    rows = [line.split("; ", 2) for line in result.stdout.splitlines()]
    return {name: (kind, message) for name, kind, message in rows}


@pytest.mark.parametrize("name", CASES)
def test_wrong_arrays_raise(errors: dict[str, tuple[str, str]], name: str):
    kind, message = errors.get(name, ("the process crashed", ""))
    assert kind in ("ValueError", "TypeError"), message


def test_correct_arrays_are_accepted():
    assert core.score(OUTPUTS, LABELS, kind="logits")["correct"] == 4
    for engine in ("lanes", "aten"):
        assert forward(engine, torch.zeros(1, 1, 1, 1).expand(4, 1, 8, 8)).shape == (4, 10)
        assert backward(engine, torch.zeros(1, 10).expand(4, 10))[0].shape == IMAGES.shape
    assert distilled(MODEL, IMAGES)[2].shape == OUTPUTS.shape
    optimizer_step(FLAT, FLAT)
    assert len(loader(BYTES)) == 1
    assert small().parameter_count > 0
