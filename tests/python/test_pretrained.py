"""Pretrained weights of the zoo: files, cards, and what uses them without training."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import mnistcnn
from mnistcnn.nn import pretrained

NAMES = [name for name in mnistcnn.list_models() if mnistcnn.create_model(name).parameter_count < 100_000]
CARDS = pretrained.cards()
# Strokes of digits on paper of 300 x 300 pixels: lists of points
STROKES = {
    0: [[(150, 60), (100, 100), (95, 180), (140, 235), (195, 200), (205, 120), (150, 60)]],
    1: [[(150, 55), (145, 240)]],
    3: [[(100, 70), (190, 70), (140, 135), (200, 180), (160, 240), (95, 225)]],
    4: [[(110, 60), (95, 155), (210, 155)], [(190, 70), (180, 245)]],
    7: [[(95, 70), (205, 70), (140, 245)]],
}


def test_every_network_below_100_000_parameters_has_weights():
    assert list(CARDS) == NAMES
    assert {path.stem for path in pretrained.FOLDER.glob("*.safetensors")} == set(NAMES)
    assert sum(path.stat().st_size for path in pretrained.FOLDER.iterdir() if path.is_file()) < 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_weights_have_the_accuracy_of_their_card(name: str, mnist: Any):
    model = mnistcnn.create_model(name, pretrained=True)
    card = model.card
    assert card is not None
    assert (card.name, card.seed, card.train_images, card.test_images) == (name, 0, 60_000, 10_000)
    assert mnistcnn.test(model, mnist[1], progress=False).accuracy == card.test_accuracy
    assert mnistcnn.Recipe.from_dict(card.recipe) == mnistcnn.recipe(name, card.variant)
    assert f"{100 * card.test_accuracy:.2f} %" in repr(card)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module ``benchmarks/pretrain.py``."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("pretrain")


def test_training_again_gives_the_same_weights(script: Any, mnist: Any):
    again = script.trained("fast_99", mnist[0]).state_dict()
    stored = mnistcnn.create_model("fast_99", pretrained=True).state_dict()
    assert again.keys() == stored.keys()
    assert all(torch.equal(again[name], stored[name]) for name in stored)


def test_the_script_trains_the_networks_with_weights(script: Any):
    assert script.networks() == NAMES


def test_training_removes_the_card(data: mnistcnn.ImageSet):
    model = mnistcnn.create_model("fast_99", pretrained=True)
    mnistcnn.train(model, data, epochs=1, progress=False)
    assert model.card is None
    assert mnistcnn.create_model("fast_99").card is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "era5_net"}, "no pretrained weights for 'era5_net'.* Choose from: .*fast_99"),
        ({"name": "fast_98"}, "no model 'fast_98'; did you mean 'fast_99'"),
        ({"name": "fast_99", "num_classes": 26}, "num_classes=26"),
        ({"name": "fast_99", "in_channels": 3}, "in_channels=3"),
        ({"name": "fast_99", "seed": 1}, "seed=1"),
    ],
)
def test_weights_that_do_not_exist(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        mnistcnn.create_model(**arguments, pretrained=True)


def test_a_changed_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = bytearray(pretrained.weights_file("fast_99").read_bytes())
    content[-1] ^= 1
    (tmp_path / "fast_99.safetensors").write_bytes(content)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(OSError, match=r"fast_99\.safetensors was changed"):
        mnistcnn.create_model("fast_99", pretrained=True)


def photo(digit: int) -> Image.Image:
    """Return a digit in dark ink on grey, noisy paper."""
    picture = Image.new("L", (300, 300), 190)
    for points in STROKES[digit]:
        ImageDraw.Draw(picture).line(points, fill=60, width=18, joint="curve")
    noise = np.random.default_rng(digit).normal(0, 6, (300, 300))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def test_predict_reads_drawn_digits_without_training_or_data(offline: None, tmp_path: Path):
    files = [f"{digit}.png" for digit in STROKES]
    for digit, file in zip(STROKES, files, strict=True):
        photo(digit).save(tmp_path / file)
    command = [sys.executable, "-m", "mnistcnn", "predict", *files, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "with pretrained weights" in done.stderr
    assert [row["prediction"] for row in json.loads(done.stdout)] == list(STROKES)
