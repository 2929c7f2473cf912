from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mnistcnn

Result = subprocess.CompletedProcess[str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command line as a user does, in an empty folder."""

    def call(*words: str) -> Result:
        command = [sys.executable, "-m", "mnistcnn.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)

    return call


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No MNIST anywhere, and a proxy at which nobody listens."""
    monkeypatch.delenv("MNISTCNN_DATA", raising=False)
    monkeypatch.setenv("MNISTCNN_CACHE", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_models_lists_the_zoo(run: Any) -> None:
    listed = json.loads(run("models", "--json").stdout)
    assert [row["name"] for row in listed] == mnistcnn.list_models()
    assert "session7_net" in run("models", "session7*").stdout
    assert "budget" not in run("models", "session7*").stdout


def test_summary_of_a_name_and_of_a_file(run: Any, tmp_path: Path) -> None:
    by_name = run("summary", "budget_model3").stdout
    assert "4,506 parameters" in by_name
    mnistcnn.create_model("budget_model3").save(tmp_path / "saved.safetensors")
    assert run("summary", "saved.safetensors").stdout == by_name
    assert json.loads(run("summary", "budget_model3", "--json").stdout)["parameters"] == 4506


@pytest.mark.usefixtures("offline")
def test_without_mnist_it_trains_on_digits_and_says_so(run: Any, tmp_path: Path) -> None:
    done = run("train", "budget_model3", "--epochs", "1", "--plot", "curves.png")
    assert done.returncode == 0, done.stderr
    assert "NOT MNIST" in done.stderr
    assert 'load("digits")' in done.stderr or "digits" in done.stderr
    assert "test set of digits: accuracy" in done.stdout
    assert (tmp_path / "curves.png").stat().st_size > 5000
    again = run("test", "budget_model3.safetensors", "--data", "digits", "--json")
    scores = json.loads(again.stdout)
    assert f"accuracy {100 * scores['accuracy']:.2f} %" in done.stdout
    assert sum(map(sum, scores["confusion"])) == scores["count"] == 10_000


def test_json_is_one_document(run: Any) -> None:
    done = run("train", "budget_model3", "--data", "digits", "--epochs", "2", "--json", "--seed", "4")
    told = json.loads(done.stdout)
    assert [record["epoch"] for record in told["epochs"]] == [1, 2]
    assert told["seed"] == 4
    assert told["test"]["count"] == 10_000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train", "session8_net", "--data", "digits"), "did you mean 'session7_net'?"),
        (("summary", "nothing.safetensors"), "there is no file nothing.safetensors"),
        (("test", "nothing.safetensors"), "there is no file nothing.safetensors"),
        (("models", "nothing*"), "no model fits 'nothing*'"),
        (("train", "--data", "digits", "--lr", "-1"), "lr must be a finite number of at least 0, got -1.0"),
        (("train", "--data", "digits", "--engine", "gpu"), "engine must be one of 'auto', 'lanes', 'aten', got 'gpu'"),
        (("train", "--data", "digits", "--save", "no/folder/here"), "does not exist"),
        (("train", "--data", "digits", "--save", "."), ". is a folder; name a file in it"),
        (("train", "--data", "digits", "--plot", "curves.xyz"), "--plot must name a .png, .svg or .pdf file"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_1(run: Any, words: tuple[str, ...], says: str) -> None:
    done = run(*words)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_wrong_command_has_exit_code_2(run: Any) -> None:
    assert run("trian").returncode == 2
    assert run("train", "--epochs", "0").returncode == 2
