"""Damaged and hostile files: reading raises one of the documented errors with the path, or returns a usable object."""

from __future__ import annotations

import gzip
import json
import os
import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from fuzzing import Failures, cases, changed_bytes, changed_data, changed_text
from idx_files import idx
from mnistcnn._internal.tensor_files import FileFormat, read_tensors, write_tensors
from mnistcnn.data.idx import read_idx
from mnistcnn.nn.save import MODEL
from mnistcnn.study.log import append
from mnistcnn.training.checkpoints import FORMAT
from studies import made_setting, made_trial, made_trials

# ---- JSON


def show_history(history: mnistcnn.History) -> None:
    repr(history)
    history._repr_html_()
    history.to_json()
    history.to_dataframe()
    for name in ("train_loss", "validation_accuracy"):
        history.column(name)
    for record in history:
        str(record)


def show_trials(trials: mnistcnn.Trials) -> None:
    repr(trials)
    trials._repr_html_()
    trials.to_json()
    with suppress(ValueError):  # the recipe is read only when it is asked for
        repr(trials.recipe)


def show_recipe(recipe: mnistcnn.Recipe) -> None:
    repr(recipe)
    recipe.digest()
    assert mnistcnn.Recipe.from_dict(json.loads(recipe.to_json())) == recipe


RECIPE = mnistcnn.Recipe(
    optimizer=mnistcnn.optim.Adam(lr=0.002),
    schedule=mnistcnn.optim.StepLR(2, 0.5),
    augment=[
        mnistcnn.transforms.Rotation(10, fill=1),
        mnistcnn.transforms.RandomApply([mnistcnn.transforms.Affine(5, translate=(0.1, 0.1))], p=0.5),
        mnistcnn.transforms.CenterCrop(24),
        mnistcnn.transforms.Resize((28, 28)),
        mnistcnn.transforms.ColorJitter(0.2, 0.1),
        mnistcnn.transforms.RandomErasing(),
    ],
    loss=mnistcnn.losses.CrossEntropy(class_weights=[1.0] * 10),
    mixing=mnistcnn.losses.Mixup(0.3),
    averaging=mnistcnn.optim.EMA(decay=0.9),
)
PUBLISHED = mnistcnn.recipe("session7_net", "rotation_step")
JSON_FILES: dict[str, tuple[Any, Callable[[Path], Any], Callable[[Any], None]]] = {
    "history": (made_trial(0, 0.99).history.to_dict(), mnistcnn.History.from_json, show_history),
    "trials": (made_trials(accuracies=(0.9, None)).to_dict(), mnistcnn.Trials.from_json, show_trials),
    "recipe": (RECIPE.to_dict(), mnistcnn.Recipe.from_json, show_recipe),
    "published recipe": (PUBLISHED.to_dict(), mnistcnn.Recipe.from_json, show_recipe),
}


@pytest.mark.parametrize("kind", JSON_FILES)
def test_json(kind: str, tmp_path: Path):
    data, read, show = JSON_FILES[kind]
    path = tmp_path / "file.json"
    with Failures() as failures:
        for number, rng in enumerate(cases(2000, kind)):
            content = changed_text(data, rng)
            path.write_bytes(content)
            found = None
            with failures.case((number, content), ValueError, path):
                found = read(path)
            if found is not None:
                with failures.case((number, content)):
                    show(found)


def test_experiment_log(tmp_path: Path):
    """Each log has one valid line and a changed one. The table can be shown."""
    path = tmp_path / "log.jsonl"
    append(path, made_setting(recipe=PUBLISHED.describe(), validation=0.1), made_trial(0, 0.99))
    valid = path.read_bytes()
    with Failures() as failures, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, rng in enumerate(cases(2000, "log")):
            content = changed_text(json.loads(valid), rng)
            path.write_bytes(valid + content.replace(b"\n", b" ") + b"\n")
            with failures.case((number, content)):
                table = mnistcnn.experiments(path)
                repr(table), table._repr_html_(), table.to_json(), table.to_dataframe()


# ---- tensors


@pytest.fixture
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write files without waiting for the disk, which takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def rewritten(path: Path, kind: FileFormat, contents: tuple[Any, dict[str, torch.Tensor]], rng: random.Random) -> Any:
    """Write changed contents with a valid digest, or change the bytes of a valid file. Return what was changed."""
    description, tensors = contents
    tensors = dict(tensors)
    if rng.random() < 0.2:
        content = write_tensors(path, kind, description, tensors).read_bytes()
        path.write_bytes(changed_bytes(content, rng))
        return "bytes"
    if rng.random() < 0.8:
        description = changed_data(description, rng)
    if rng.random() < 0.3:
        _change_tensor(tensors, rng)
    write_tensors(path, kind, description, tensors)
    return description, {name: (each.dtype, each.shape) for name, each in tensors.items()}


def _change_tensor(tensors: dict[str, torch.Tensor], rng: random.Random) -> None:
    name = rng.choice(list(tensors))
    kind = rng.randrange(5)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[name] = torch.zeros(rng.choice(((), (0,), (3,), (1, 2), (0, 2**40))))
    elif kind == 2:
        tensors[name] = tensors[name].to(rng.choice((torch.float64, torch.int64, torch.bool, torch.bfloat16)))
    elif kind == 3:
        tensors[name] = torch.full_like(tensors[name], rng.choice((0, -1, 2**30)))
    else:
        tensors["more"] = torch.zeros(2)


def small_model() -> mnistcnn.Model:
    layers = {
        "conv": mnistcnn.layers.Conv2d(4, 3, padding="same"),
        "norm": mnistcnn.layers.BatchNorm2d(),
        "relu": mnistcnn.layers.ReLU(),
        "drop": mnistcnn.layers.Dropout(0.1),
        "pool": mnistcnn.layers.MaxPool2d(2),
        "flat": mnistcnn.layers.Flatten(),
        "head": mnistcnn.layers.Linear(10),
        "out": mnistcnn.layers.LogSoftmax(),
    }
    return mnistcnn.Model(layers, (1, 28, 28), seed=7, name="small", normalization=mnistcnn.Normalization(0.13, 0.3))


@pytest.mark.usefixtures("unflushed")
def test_model(tmp_path: Path):
    path = small_model().save(tmp_path / "model.safetensors")
    contents = read_tensors(path, MODEL)
    with Failures() as failures:
        for number, rng in enumerate(cases(2000, "model")):
            what = rewritten(path, MODEL, contents, rng)
            model = None
            with failures.case((number, what), OSError, path):
                model = mnistcnn.load_model(path)
            if model is not None:
                with failures.case((number, what)):
                    repr(model)
                    model(torch.zeros(2, *model.input_shape))


def trained(folder: Path, data: mnistcnn.ImageSet, **options: Any) -> mnistcnn.History:
    return mnistcnn.train(
        small_model(),
        data,
        epochs=2,
        batch_size=50,
        averaging=mnistcnn.optim.EMA(decay=0.9),
        optimizer=mnistcnn.optim.NAdam(),
        callbacks=[mnistcnn.callbacks.KeepBest()],
        validation=0.5,
        checkpoint=folder,
        progress=False,
        **options,
    )


@pytest.mark.usefixtures("unflushed")
def test_checkpoint(tmp_path: Path):
    """Loading and resuming raise an error with the directory or the file, or the run is resumed."""
    data = mnistcnn.load("digits")[1][:100]
    trained(tmp_path, data)
    checkpoint = mnistcnn.Checkpoint(tmp_path)
    checkpoint.path(1).unlink()
    path = checkpoint.path(2)
    description, tensors = read_tensors(path, FORMAT)
    with Failures() as failures, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, rng in enumerate(cases(600, "checkpoint")):
            what = rewritten(path, FORMAT, (description, tensors), rng)
            with failures.case((number, what), OSError, path):
                checkpoint.load(2)
            with failures.case((number, what), OSError, tmp_path):
                show_history(checkpoint.history)
            with failures.case((number, what), (OSError, ValueError)):
                trained(tmp_path, data, resume=True)


# ---- IDX

ARRAYS = {
    "images": np.arange(3 * 20 * 20, dtype=np.uint8).reshape(3, 20, 20),
    "integers": np.arange(7, dtype=np.int32),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("array", ARRAYS)
def test_idx(compressed: bool, array: str, tmp_path: Path):
    plain = idx(ARRAYS[array])
    path = tmp_path / "file"
    with Failures() as failures:
        for number, rng in enumerate(cases(3000, f"idx {compressed} {array}")):
            content = changed_bytes(plain, rng) if not compressed or rng.random() < 0.5 else plain
            if compressed:
                content = gzip.compress(content, rng.randrange(10))
                content = changed_bytes(content, rng) if rng.random() < 0.7 else content
            path.write_bytes(content)
            with failures.case((number, content), OSError, path):
                assert read_idx(path).nbytes <= max(len(content) * 1032, 2 * len(plain))
