"""Demo: the server with HTTP requests, and the page in a browser if one is installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

import mnistcnn

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")

from mnistcnn.demo import Reader, make_app, serve  # noqa: E402
from mnistcnn.demo.server import CANVAS  # noqa: E402

BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def model() -> mnistcnn.Model:
    """Return a model with a good accuracy on digits."""
    trained = mnistcnn.create_model("session7_net", seed=1)
    mnistcnn.train(trained, mnistcnn.load("digits")[0], epochs=2, progress=False)
    return trained


@pytest.fixture(scope="module")
def port(model: mnistcnn.Model) -> Iterator[int]:
    """Serve the page in a thread, and return the port."""
    server = uvicorn.Server(uvicorn.Config(make_app(model), log_level="warning"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None):
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()


def test_server_sends_the_files_of_the_page(port: int):
    for path, kind, content in [
        ("/", "text/html", b"Draw a digit"),
        ("/page.css", "text/css", b"light-dark"),
        ("/page.js", "text/javascript", b"getImageData"),
        ("/icon.svg", "image/svg+xml", b"<svg"),
    ]:
        response, body = ask(port, "GET", path)
        assert response.status == 200
        assert response.headers["Content-Type"].startswith(kind)
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert content in body
    assert ask(port, "GET", "/../server.py")[0].status == 404


def test_server_sends_the_description_of_the_model(port: int):
    about = json.loads(ask(port, "GET", "/model")[1])
    assert about == {"name": "session7_net", "parameters": 7596, "canvas": CANVAS, "size": 28, "classes": 10}


def test_server_classifies_a_drawing(port: int, model: mnistcnn.Model):
    drawing = np.zeros((CANVAS, CANVAS), np.uint8)
    drawing[40:240, 130:152] = 255  # a one
    response, body = ask(port, "POST", "/read", drawing.tobytes(), BYTES)
    answer = json.loads(body)
    assert response.status == 200
    assert int(np.argmax(answer["probabilities"])) == 1
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
    seen = np.array(answer["image"], np.uint8).reshape(28, 28)
    assert seen.any()
    assert np.allclose(mnistcnn.predict(model, seen)[0], answer["probabilities"], atol=1e-5)
    assert len(answer["heat"]) == 784
    assert 0 <= min(answer["heat"]) <= max(answer["heat"]) <= 1


def test_server_sends_no_prediction_for_a_blank_drawing(port: int):
    response, body = ask(port, "POST", "/read", bytes(CANVAS * CANVAS), BYTES)
    assert (response.status, json.loads(body)) == (200, {})


@pytest.mark.parametrize(
    ("size", "headers", "status", "message"),
    [
        (CANVAS * CANVAS + 1, BYTES, 413, "got more"),
        (10_000_000, BYTES, 413, "got more"),
        (17, BYTES, 400, "got 17"),
        (0, BYTES, 400, "got 0"),
        (CANVAS * CANVAS, {"Content-Type": "text/plain"}, 415, "octet-stream"),
    ],
)
def test_invalid_requests_are_rejected(port: int, size: int, headers: dict[str, str], status: int, message: str):
    try:
        response, body = ask(port, "POST", "/read", bytes(size), headers)
    except (BrokenPipeError, ConnectionResetError):
        assert size > 1_000_000  # the server closed the connection before the whole body was sent
        return
    assert response.status == status
    assert message in json.loads(body)["error"]


def test_requests_for_other_hosts_are_rejected(port: int):
    """Protects against DNS rebinding: the name of another site that resolves to this machine."""
    assert ask(port, "GET", "/model", headers={"Host": "elsewhere.example"})[0].status == 400


def test_unavailable_port_raises(model: mnistcnn.Model, port: int):
    with pytest.raises(OSError, match=f"port {port}: .*choose another port"):
        serve(model, port=port, open_browser=False)
    with pytest.raises(ValueError, match=r"port .*65535, got 70000"):
        serve(model, port=70_000, open_browser=False)


def test_reader_rejects_models_with_other_input_shapes():
    coloured = mnistcnn.Model([mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)], input_shape=(3, 8, 8))
    with pytest.raises(ValueError, match=r"\[1, 28, 28\], got .* \[3, 8, 8\]"):
        Reader(coloured)


# Strokes in a unit square, y downward.
STROKES = {
    0: [
        [
            (0.5, 0.15),
            (0.33, 0.25),
            (0.27, 0.5),
            (0.33, 0.75),
            (0.5, 0.85),
            (0.67, 0.75),
            (0.73, 0.5),
            (0.67, 0.25),
            (0.5, 0.15),
        ]
    ],
    1: [[(0.52, 0.15), (0.5, 0.5), (0.48, 0.85)]],
    2: [
        [
            (0.3, 0.28),
            (0.4, 0.17),
            (0.56, 0.16),
            (0.66, 0.28),
            (0.62, 0.42),
            (0.45, 0.62),
            (0.28, 0.82),
            (0.5, 0.82),
            (0.74, 0.82),
        ]
    ],
    3: [
        [
            (0.32, 0.2),
            (0.5, 0.15),
            (0.65, 0.25),
            (0.62, 0.4),
            (0.47, 0.48),
            (0.65, 0.56),
            (0.68, 0.72),
            (0.52, 0.85),
            (0.32, 0.8),
        ]
    ],
    4: [[(0.36, 0.18), (0.3, 0.52), (0.7, 0.52)], [(0.64, 0.18), (0.62, 0.85)]],
    7: [[(0.28, 0.2), (0.72, 0.2), (0.58, 0.5), (0.46, 0.85)]],
}


@pytest.mark.skipif(not (shutil.which("chromedriver") and shutil.which("chromium")), reason="needs Debian's chromium")
def test_page_classifies_digits_drawn_in_a_browser(port: int, tmp_path: Path):
    pytest.importorskip("selenium")
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,700"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.get(f"http://127.0.0.1:{port}/")
        wait = WebDriverWait(browser, 30)
        wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "body[data-ready=yes]"))
        canvas, answer = browser.find_element(By.ID, "drawing"), browser.find_element(By.ID, "answer")
        width = canvas.size["width"]
        read = {}
        for digit, strokes in STROKES.items():
            browser.find_element(By.ID, "clear").click()
            wait.until(lambda _: answer.text == "Draw a digit to see the prediction.")
            hand = ActionChains(browser, duration=10)
            for stroke in strokes:
                for index, (x, y) in enumerate(stroke):
                    hand.move_to_element_with_offset(canvas, int((x - 0.5) * width), int((y - 0.5) * width))
                    if index == 0:
                        hand.click_and_hold()
                hand.release()
            hand.perform()
            wait.until(lambda _: answer.text.startswith("Prediction: "))
            wait.until(lambda _: browser.execute_script("return !state.busy"))
            read[digit] = int(answer.text.split()[1].rstrip(","))
            if digit == 3 and (folder := os.environ.get("MNISTCNN_SCREENSHOTS")):
                browser.save_screenshot(str(Path(folder) / "demo.png"))
        assert len(browser.find_elements(By.CSS_SELECTOR, "#bars li.best")) == 1
        assert not browser.get_log("browser")
    finally:
        browser.quit()
    assert sum(read[digit] == digit for digit in STROKES) >= len(STROKES) - 1, read
