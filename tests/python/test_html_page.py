"""HTML pages, run in a browser and compared with the model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from browser import STROKES, browser, displayed, needs_browser, open_page, prediction_of_drawn
from mnistcnn import layers as m
from mnistcnn.export.html_page import page
from mnistcnn.export.lowering import lowered
from random_graphs import random_graph, stir

LARGE = {"assignment7_model1", "era5_net", "recognition_cnn"}  # 100,000 parameters and more


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser() as started:
        yield started


def outputs_in(driver: Any, images: Any) -> Any:
    """Return the outputs of the network of the open page."""
    lists = images.reshape(len(images), -1).tolist()
    script = "return arguments[0].map((image) => Array.from(outputs(Uint8Array.from(image))))"
    return np.array(driver.execute_script(script, lists), np.float32)


def check(driver: Any, path: Path, model: mnistcnn.Model, images: Any) -> None:
    open_page(driver, path.as_uri())
    wanted = model.eval()(images).detach().numpy().reshape(len(images), -1)
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(outputs_in(driver, images) / scale, wanted / scale, atol=1e-5)


@needs_browser
@pytest.mark.parametrize(
    ("names", "subject"),
    [("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "character"), (("T-shirt/top", "</script>", "Dress"), "picture"), ("012", "digit")],
)
def test_page_shows_the_names_of_the_classes(driver: Any, tmp_path: Path, names: Any, subject: str):
    model = mnistcnn.create_model("budget_model3", num_classes=len(names))
    model.class_names = tuple(names)
    open_page(driver, mnistcnn.export_html(model, tmp_path / "page.html").as_uri())
    shown = [each.text for each in driver.find_elements("css selector", "#bars .name")]
    assert shown == list(names)
    assert driver.find_element("css selector", "h1").text == f"Draw a {subject}"
    prediction = driver.execute_script(
        "show(new Uint8Array(784), arguments[0]); return find('answer').textContent",
        {"probabilities": [0.1, 0.7, 0.2], "milliseconds": 1},
    )
    assert prediction == f"Prediction: {names[1]}, 70.0 % (1 ms)"


@needs_browser
@pytest.mark.parametrize("name", sorted(set(mnistcnn.list_models()) - LARGE))
def test_networks_of_the_zoo(driver: Any, name: str, tmp_path: Path):
    model = mnistcnn.create_model(name, pretrained=True)
    path = mnistcnn.export_html(model, tmp_path / "page.html")
    check(driver, path, model, mnistcnn.load("digits")[1].images[:100])
    assert path.stat().st_size < 30_000 + 5.4 * model.parameter_count  # float32 as base64: 16 / 3 bytes


@needs_browser
@pytest.mark.parametrize("seed", range(2000, 2058))  # together these networks contain all layers but two activations
def test_random_networks(driver: Any, seed: int, tmp_path: Path):
    graph = random_graph(seed)
    model = mnistcnn.Model(graph.layers, graph.input_shape, seed=seed)
    if any(op.startswith("batchnorm") and not fields["track_running_stats"] for _, op, _, fields in model.rows):
        with pytest.raises(ValueError, match="without running statistics depends on the whole batch"):
            lowered(model)
        return
    stir(model, torch.Generator().manual_seed(seed))
    path = tmp_path / "page.html"
    names = tuple(map(str, range(int(np.prod(model.output_shape)))))
    path.write_text(page(lowered(model), names), encoding="utf-8")
    images = np.random.default_rng(seed).integers(0, 256, (3, *model.input_shape), dtype=np.uint8)
    check(driver, path, model, images)


def drawn(strokes: Any, width: int, size: int = 280, shrink: float = 1.0) -> Any:
    """Return a drawing, u8 [size, size]."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (4 * size, 4 * size))
    pen = ImageDraw.Draw(image)
    for stroke in strokes:
        points = [(4 * size * (0.5 + shrink * (x - 0.5)), 4 * size * (0.5 + shrink * (y - 0.5))) for x, y in stroke]
        pen.line(points, fill=255, width=4 * width, joint="curve")
    return np.asarray(image.resize((size, size)))


@needs_browser
def test_drawings_are_prepared_as_by_as_digit(driver: Any, trained_model: mnistcnn.Model, tmp_path: Path):
    open_page(driver, mnistcnn.export_html(trained_model, tmp_path / "page.html").as_uri())
    script = "return Array.from(asDigit(Uint8Array.from(arguments[0]), arguments[1], arguments[1]))"
    for digit, strokes in STROKES.items():
        for width, shrink in ((22, 1), (3, 1), (10, 1.3), (40, 1), (6, 0.1)):
            drawing = drawn(strokes, width, shrink=shrink)
            found = np.array(driver.execute_script(script, drawing.ravel().tolist(), 280)).reshape(28, 28)
            difference = np.abs(found - mnistcnn.as_digit(drawing).astype(int))
            assert difference.max() <= 2, (digit, width, shrink, int(difference.max()))


@needs_browser
def test_page_classifies_drawn_digits_without_network_access(
    driver: Any, trained_model: mnistcnn.Model, tmp_path: Path
):
    path = mnistcnn.export_html(trained_model, tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org)|fetch\(|(src|href)=\"/", text)
    driver.get_log("browser")
    open_page(driver, path.as_uri())
    images = mnistcnn.load("digits")[1].images[:100]
    np.testing.assert_allclose(np.exp(outputs_in(driver, images)), mnistcnn.predict(trained_model, images), atol=1e-3)
    read = {digit: prediction_of_drawn(driver, digit) for digit in STROKES}
    assert sum(read[digit] == digit for digit in STROKES) >= len(STROKES) - 1, read
    for width in (1280, 390):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        prediction_of_drawn(driver, 3)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        if folder := os.environ.get("MNISTCNN_SCREENSHOTS"):
            driver.save_screenshot(str(Path(folder) / f"page{width}.png"))
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not driver.get_log("browser")


@needs_browser
def test_keyboard_draws(driver: Any, trained_model: mnistcnn.Model, tmp_path: Path):
    from selenium.webdriver.common.keys import Keys

    open_page(driver, mnistcnn.export_html(trained_model, tmp_path / "page.html").as_uri())
    canvas = driver.find_element("id", "drawing")
    canvas.send_keys(Keys.SPACE, *[Keys.ARROW_DOWN] * 18, Keys.SPACE)
    assert displayed(driver) == 1
    assert driver.find_element("id", "hint").is_displayed()
    canvas.send_keys("c")
    assert driver.find_element("id", "answer").text == "Draw a digit to see the prediction."


def test_every_primitive_is_in_the_page(trained_model: mnistcnn.Model, tmp_path: Path):
    text = mnistcnn.export_html(trained_model, tmp_path / "page.html").read_text(encoding="utf-8")
    source = (Path(mnistcnn.__file__).parent / "export" / "primitives.c").read_text(encoding="utf-8")
    names = re.findall(r"^static inline void PREFIX_(\w+)\(", source, re.MULTILINE)
    missing = [name for name in names if not re.search(rf"^  {name}(\(|:|,)", text, re.MULTILINE)]
    assert not missing


def test_name_of_the_model_cannot_end_the_script(tmp_path: Path):
    model = mnistcnn.create_model("budget_model3")
    model.name = "</script><img src=x>"
    assert "<img" not in mnistcnn.export_html(model, tmp_path / "page.html").read_text(encoding="utf-8")


def test_unsupported_models_raise(tmp_path: Path):
    path = tmp_path / "page.html"
    with pytest.raises(ValueError, match=r"input shape \[1, 28, 28\], got model 'model' with \[3, 28, 28\]"):
        mnistcnn.export_html(mnistcnn.Model([m.Flatten(), m.Linear(10)], (3, 28, 28)), path)
    with pytest.raises(ValueError, match="output must have shape"):
        mnistcnn.export_html(mnistcnn.Model([m.Conv2d(10, 3)]), path)
    assert not path.exists()
