"""Errors for optional packages that are not installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

import mnistcnn
from mnistcnn._internal.packages import missing_package
from mnistcnn._internal.tables import pandas
from mnistcnn.demo.server import check_packages
from mnistcnn.study.storage import opened_study


def open_study() -> None:
    with opened_study(None, "name", "{}", 0, pruning=False, resume=False):
        pass


@pytest.mark.parametrize(
    ("use", "module", "message"),
    [
        (open_study, "optuna", "a sweep needs optuna: pip install optuna"),
        (pandas, "pandas", "to_dataframe needs pandas: pip install pandas"),
        (
            lambda: mnistcnn.export_onnx(mnistcnn.create_model("session7_net"), "net.onnx"),
            "onnx",
            "exporting to ONNX needs onnx: pip install onnx",
        ),
        (
            lambda: importlib.import_module("mnistcnn.sklearn"),
            "sklearn.base",
            "mnistcnn.sklearn needs scikit-learn>=1.6: pip install 'scikit-learn>=1.6'",
        ),
    ],
)
def test_missing_package_raises(
    use: Callable[[], Any], module: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mnistcnn.sklearn", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        use()
    assert str(caught.value) == message


def test_missing_packages_of_the_demo_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnistcnn.demo.server.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"^the demo needs starlette and uvicorn: pip install starlette uvicorn$"):
        check_packages()


def test_command_quotes_what_the_shell_would_interpret() -> None:
    assert str(missing_package("it", "a>=1", "b")) == "it needs a>=1 and b: pip install 'a>=1' b"
