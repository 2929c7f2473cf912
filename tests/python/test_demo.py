"""Demo: the server with HTTP requests, and the page in a browser if one is installed."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

import mnistcnn
from browser import STROKES, browser, needs_browser, open_page, prediction_of_drawn
from mnistcnn.data.digitize import SIDE

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")

from mnistcnn.demo import DigitClassifier, make_app, serve  # noqa: E402
from mnistcnn.demo.background_log import BackgroundLog  # noqa: E402

BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def port(trained_model: mnistcnn.Model) -> Iterator[int]:
    """Serve the page in a thread, and return the port."""
    server = uvicorn.Server(uvicorn.Config(make_app(trained_model), log_config=None))  # pytest records the log
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
        ("/digit.js", "text/javascript", b"asDigit"),
        ("/server.js", "text/javascript", b"fetch"),
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
    assert about == {"name": "session7_net", "parameters": 7596, "names": list("0123456789"), "heat": True}


def test_server_classifies_a_digit(port: int, trained_model: mnistcnn.Model):
    drawing = np.zeros((280, 280), np.uint8)
    drawing[40:240, 130:152] = 255  # a one
    digit = mnistcnn.as_digit(drawing)
    response, body = ask(port, "POST", "/classify", digit.tobytes(), BYTES)
    answer = json.loads(body)
    assert response.status == 200
    assert int(np.argmax(answer["probabilities"])) == 1
    assert np.allclose(mnistcnn.predict(trained_model, digit)[0], answer["probabilities"], atol=1e-5)
    assert len(answer["heat"]) == 784
    assert 0 <= min(answer["heat"]) <= max(answer["heat"]) <= 1


@pytest.mark.parametrize(
    ("size", "headers", "status", "message"),
    [
        (SIDE * SIDE + 1, BYTES, 413, "got more"),
        (10_000_000, BYTES, 413, "got more"),
        (17, BYTES, 400, "got 17"),
        (0, BYTES, 400, "got 0"),
        (SIDE * SIDE, {"Content-Type": "text/plain"}, 415, "octet-stream"),
    ],
)
def test_invalid_requests_are_rejected(port: int, size: int, headers: dict[str, str], status: int, message: str):
    try:
        response, body = ask(port, "POST", "/classify", bytes(size), headers)
    except (BrokenPipeError, ConnectionResetError):
        assert size > 1_000_000  # the server closed the connection before the whole body was sent
        return
    assert response.status == status
    assert message in json.loads(body)["error"]


def test_requests_for_other_hosts_are_rejected(port: int):
    """Protects against DNS rebinding: the name of another site that resolves to this machine."""
    assert ask(port, "GET", "/model", headers={"Host": "elsewhere.example"})[0].status == 400


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "http://127.0.0.1:1", "null"])
def test_requests_of_other_sites_are_rejected(port: int, origin: str):
    response, body = ask(port, "GET", "/model", headers={"Origin": origin})
    assert response.status == 403
    assert origin in json.loads(body)["error"]


def test_requests_of_the_page_are_accepted(port: int):
    drawing = bytes(SIDE * SIDE)
    headers = {**BYTES, "Origin": f"http://127.0.0.1:{port}"}
    assert ask(port, "POST", "/classify", drawing, headers)[0].status == 200


def test_client_that_disconnects_within_a_body_is_not_logged(port: int, caplog: pytest.LogCaptureFixture):
    head = f"POST /classify HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/octet-stream\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(f"{head}Content-Length: {SIDE * SIDE}\r\nExpect: 100-continue\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 100")  # the server waits for the body
            client.sendall(b"abc")
    assert ask(port, "GET", "/model")[0].status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_log_does_not_block_on_a_full_pipe():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    log = BackgroundLog(writing, size=3)
    for number in range(100):
        log.emit(logging.makeLogRecord({"msg": f"record {number}"}))
    content = b""
    while b"record 2\n" not in content:
        content += os.read(reading, 1 << 20)
    assert content.strip(b"\0").startswith(b"record 0\nrecord 1\nrecord 2\n")
    assert b"record 99" not in content
    os.close(reading)
    os.close(writing)


def test_demo_answers_while_its_output_is_not_read(trained_model: mnistcnn.Model, tmp_path: Path):
    trained_model.save(tmp_path / "model.safetensors")
    command = [sys.executable, "-m", "mnistcnn", "demo", "model.safetensors", "--port", "0", "--no-browser"]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert running.stdout is not None
        fcntl.fcntl(running.stdout, fcntl.F_SETPIPE_SZ, 4096)
        port = int(running.stdout.readline().split(":")[2].split("/")[0])
        for _ in range(300):  # more than 4096 bytes of log
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(b"not HTTP\r\n\r\n")
                client.recv(100)
        assert ask(port, "GET", "/model")[0].status == 200
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0
    finally:
        running.kill()
        running.communicate()


def test_exit_code_after_sigterm(tmp_path: Path) -> None:
    mnistcnn.create_model("budget_model3").save(tmp_path / "model.safetensors")
    command = [sys.executable, "-m", "mnistcnn", "demo", "model.safetensors", "--port", "0", "--no-browser"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        port = int(running.stderr.readline().split(":")[2].split("/")[0])
        assert ask(port, "GET", "/model")[0].status == 200  # it handles signals now
        running.terminate()
        assert running.wait(30) == 143
    finally:
        running.kill()
        running.communicate()


def test_demo_without_a_model_uses_pretrained_weights(tmp_path: Path):
    command = [sys.executable, "-m", "mnistcnn", "demo", "--port", "0", "--no-browser"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        assert running.stderr.readline() == "model: record_8k with pretrained weights\n"
        port = int(running.stderr.readline().split(":")[2].split("/")[0])
        assert b"record_8k" in ask(port, "GET", "/model")[1]
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize(("host", "message"), [("0.0.0.0", "reachable from other machines"), ("127.0.0.2", "")])
def test_serve_warns_unless_the_address_is_loopback(
    trained_model: mnistcnn.Model, monkeypatch: pytest.MonkeyPatch, host: str, message: str
):
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    with pytest.warns(UserWarning, match=message) if message else nullcontext():
        serve(trained_model, host=host, port=0, open_browser=False, on_start=lambda _: None)


def test_unavailable_port_raises(trained_model: mnistcnn.Model, port: int):
    with pytest.raises(OSError, match=f"port {port}: .*choose another port"):
        serve(trained_model, port=port, open_browser=False)
    with pytest.raises(ValueError, match=r"port .*65535, got 70000"):
        serve(trained_model, port=70_000, open_browser=False)


def test_classifier_rejects_models_with_other_input_shapes():
    coloured = mnistcnn.Model([mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)], input_shape=(3, 8, 8))
    with pytest.raises(ValueError, match=r"\[1, 28, 28\], got .* \[3, 8, 8\]"):
        DigitClassifier(coloured)


@needs_browser
def test_page_classifies_digits_drawn_in_a_browser(port: int):
    with browser() as driver:
        open_page(driver, f"http://127.0.0.1:{port}/")
        read = {}
        for digit in STROKES:
            read[digit] = prediction_of_drawn(driver, digit)
            if digit == 3 and (folder := os.environ.get("MNISTCNN_SCREENSHOTS")):
                driver.save_screenshot(str(Path(folder) / "demo.png"))
        assert len(driver.find_elements("css selector", "#bars li.best")) == 1
        assert not driver.get_log("browser")
    assert sum(read[digit] == digit for digit in STROKES) >= len(STROKES) - 1, read
