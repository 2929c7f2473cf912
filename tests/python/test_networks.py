"""Networks given as ``file.py:Class``: the file is imported in a subprocess."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mnistcnn
from mnistcnn.course.network_worker import main
from mnistcnn.course.networks import ModelFileError, network_of, network_of_file

SOURCE = """
import mnistcnn
import torch
from helper import WIDTH
from torch import nn
from torch.nn import functional as F

print("imported")


class Net(nn.Module):
    \"\"\"Target: small.

    Analysis: too small.
    \"\"\"

    recipe = mnistcnn.Recipe(epochs=2, optimizer="adam")

    def __init__(self, width=WIDTH):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.unused = nn.Linear(3, 3)
        self.out = nn.Linear(width, 10)
        self.conv.bias.requires_grad_(False)

    def forward(self, x):
        return self.out(F.relu(self.conv(x)).mean((2, 3)))
"""


def test_network_of_a_class(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.py").write_text(SOURCE)
    (tmp_path / "helper.py").write_text("WIDTH = 4")
    network = network_of(f"{tmp_path / 'model.py'}:Net")
    assert network.model.name == "Net"
    assert network.model.parameter_count == 40 + 50
    assert network.parameters == 40 + 50 + 12
    assert network.recipe == mnistcnn.Recipe(epochs=2, optimizer="adam")
    assert network.description == "Target: small.\n\nAnalysis: too small."
    assert [name for name, each in network.model.named_parameters() if not each.requires_grad] == ["conv.bias"]
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "imported" in printed.err


ENDLESS = "while True:\n    pass\n"


def test_file_that_never_ends_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(ENDLESS)
    with pytest.raises(ModelFileError, match=r"took longer than 1 s .* `if __name__ == '__main__':`"):
        network_of_file(f"{path}:Net", time_limit=1)


def test_file_that_ends_the_process(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text("import os\nos._exit(3)\n")
    with pytest.raises(ModelFileError, match="ended with exit code 3"):
        network_of_file(f"{path}:Net")


@pytest.mark.parametrize("reference", ["model.py", "model.py:", "model.py:1a", "model.txt:Net"])
def test_reference_has_a_file_and_a_class(reference: str) -> None:
    with pytest.raises(ModelFileError, match=r"must be given as file\.py:Class, got"):
        network_of_file(reference)


def test_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nothing\.py does not exist"):
        network_of_file(f"{tmp_path / 'nothing.py'}:Net")


NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self{arguments}):
        super().__init__()
        {init}
    def forward(self, x):
        return {outputs}
"""


def net(
    arguments: str = "", init: str = "self.out = nn.Linear(784, 10)", outputs: str = "self.out(x.flatten(1))"
) -> str:
    return NET.format(arguments=arguments, init=init, outputs=outputs)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Net(\n", "cannot be imported: model.py:1: SyntaxError"),
        ("import sys\nsys.exit(4)", "calls sys.exit(4) when it is imported"),
        ("\nnn.Linear", "model.py:2: NameError: name 'nn' is not defined"),
        ("import nothing_like_this", "model.py:1: ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("open('/nothing/like/this')", "model.py:1: FileNotFoundError"),
        ("input()", "model.py:1: EOFError"),
        ("x = 1", "has no class 'Net'. It defines no subclass of torch.nn.Module"),
        (net().replace("Net", "Nett"), "has no class 'Net'; did you mean 'Nett'? It defines Nett"),
        ("Net = 3", "Net must be a class, got 3"),
        ("class Net:\n    pass", "Net must be a subclass of torch.nn.Module"),
        (
            net(", width"),
            "Net() failed: TypeError: Net.__init__() missing 1 required positional argument: 'width'; give",
        ),
        (net(init="raise ValueError('wrong width')"), "Net() failed: model.py:6: ValueError: wrong width"),
        (net(init="exit(1)"), "Net() failed: model.py:6: SystemExit: 1"),
        (net(outputs="self.out(x.flatten(1)) @ x"), "Net: model.py:8: "),
        (net(outputs="self.none(x)"), "AttributeError"),
        (net(outputs="(x, x)"), "returns 2 tensors"),
        (net() + "    recipe = 3", "`recipe` of Net must be an mnistcnn.Recipe, got 3"),
    ],
)
def test_error_names_the_cause(source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.py"
    path.write_text(source)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "stdin", (tmp_path / "model.py").open())
    sys.stdin.read()
    monkeypatch.setitem(sys.modules, "model", None)
    main(path, "Net", tmp_path)
    sys.stdin.close()
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert message in report["error"]
    assert "Traceback" not in report["error"]


def test_network_of_a_published_network_has_its_recipe() -> None:
    network = network_of("compact_net")
    assert network.parameters == 7570
    assert network.recipe == mnistcnn.recipe("compact_net")


def test_network_of_a_module_has_the_recipe_of_its_class() -> None:
    class Net(nn.Module):
        recipe = mnistcnn.Recipe(epochs=3)

        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(784, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(x.flatten(1))

    assert network_of(Net()).recipe.epochs == 3
    assert network_of(nn.Sequential(nn.Flatten(), nn.Linear(784, 10))).recipe == mnistcnn.Recipe()
