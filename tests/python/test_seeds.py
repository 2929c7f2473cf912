"""Programs in the style of the five source projects run after a short list of replacements.

The texts of the source projects are not part of this repository. The programs are written from the requirements that
`docs/source_projects.md` lists. They import ``utils`` and ``model``, as the projects do: ``REPLACEMENTS`` turns the
first into `mnistcnn.course`, and the second is the student's own file, here with the published networks as PyTorch
code.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import mnistcnn
from mnistcnn.course import sources
from mnistcnn.data.datasets import AutoData

ROOT = Path(__file__).parents[2]

# docs/howto/course.md shows the same list.
REPLACEMENTS = {
    "from torchvision import datasets, transforms": "from mnistcnn import transforms",
    "transforms.RandomRotation((-10, 10), fill=(1,))": "transforms.Rotation(10, fill=1)",
    "torch.utils.data.DataLoader(": "mnistcnn.DataLoader(",
    "import utils": "from mnistcnn.course import *",
    "from utils import *": "from mnistcnn.course import *",
    "utils.make_data()": "make_data()",
    "Net().to(device)": "mnistcnn.accelerate(Net()).to(device)",
    ", verbose=True": "",
}

# By project: the networks in its model.py, and the program.
PROGRAMS: dict[str, tuple[dict[str, str], str]] = {
    "assignment7: data loaders and eight models": (
        {f"Model_{number}": f"assignment7_model{number}" for number in range(1, 9)},
        """
import torch
import model as models
from utils import *

device = use_device()
train_loader, test_loader = get_dataloaders(batch_size=128, num_workers=4, pin_memory=True)
for Net in (getattr(models, f"Model_{number}") for number in range(1, 9)):
    model = Net().to(device)
    summary(model, input_size=(1, 28, 28))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(1, EPOCHS + 1):
        train(model, device, train_loader, optimizer, epoch)
        test_acc, test_losses = test(model, device, test_loader)
""",
    ),
    "era5: helpers, and a loop with StepLR": (
        {"Net": "era5_net"},
        """
import torch
import utils
from model import Net

device = use_device()
train_data, test_data = utils.make_data()
train_loader, test_loader = data_loader(batch_size=64, shuffle=True)
batch_data, batch_label = next(iter(train_loader))
plot_data(batch_data, batch_label, 12)
model = Net().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=15, gamma=0.1, verbose=True)
for epoch in range(1, EPOCHS + 1):
    print(f"Epoch {epoch}")
    train_acc, train_losses = train(model, device, train_loader, optimizer)
    test_acc, test_losses = test(model, device, test_loader)
    scheduler.step()
display_plot(train_losses, train_acc, test_losses, test_acc)
""",
    ),
    "budget: three models with Adam, a plateau schedule and the best checkpoint": (
        {f"Model{number}": f"budget_model{number}" for number in (1, 2, 3)},
        """
import torch
from torch import nn
from model import Model1, Model2, Model3
from utils import *

device = use_device()
train_loader, test_loader = get_dataloaders("./data", batch_size=128)
criterion = nn.CrossEntropyLoss()
for Net, learning_rate in ((Model1, 0.01), (Model2, 0.005), (Model3, 0.001)):
    model = Net().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.1, patience=3, verbose=True)
    best = 0.0
    for epoch in range(1, EPOCHS + 1):
        train(model, device, train_loader, optimizer, criterion, epoch)
        test_acc, test_losses = test(model, device, test_loader, criterion, epoch)
        scheduler.step(test_acc[-1])
        if test_acc[-1] > best:
            best = test_acc[-1]
            torch.save(model.state_dict(), f"best_{Net.__name__}.pth")
    model.load_state_dict(torch.load(f"best_{Net.__name__}.pth"))
train_losses, train_acc, validation_losses, validation_acc = train_model(Model3(), epochs=EPOCHS)
display_plot(train_losses, train_acc, validation_losses, validation_acc)
""",
    ),
    "session7: three networks with three recipes, samples and curves": (
        {"Net1": "session7_net1", "Net2": "session7_net2", "Net3": "session7_net"},
        """
import torch
from torchvision import datasets, transforms
import utils
from model import Net1, Net2, Net3

device = use_device()
train_data, test_data = utils.make_data()
test_loader = torch.utils.data.DataLoader(test_data, batch_size=128)
rotation = transforms.RandomRotation((-10, 10), fill=(1,))
for Net, augment, step_size in (
    (Net1, (), 100),
    (Net2, (), 100),
    (Net3, (), 100),
    (Net3, (rotation,), 100),
    (Net3, (rotation,), 6),
):
    train_loader = torch.utils.data.DataLoader(train_data, batch_size=128, shuffle=True, augment=augment)
    plot_data(*next(iter(train_loader)), 12)
    model = Net().to(device)
    summary(model, input_size=(1, 28, 28))
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=step_size, gamma=0.1)
    for epoch in range(EPOCHS):
        train_acc, train_losses = train(model, device, train_loader, optimizer, epoch)
        test_acc, test_losses = test(model, device, test_loader)
        scheduler.step()
    display_plot(train_losses, train_acc, test_losses, test_acc)
""",
    ),
    "recognition: accuracy, precision, recall": (
        {"Net": "recognition_cnn"},
        """
import torch
from sklearn.metrics import accuracy_score, precision_score, recall_score
from model import Net
from utils import *

device = use_device()
train_loader, test_loader = get_dataloaders()
model = Net().to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
for epoch in range(EPOCHS):
    train(model, device, train_loader, optimizer, nn.CrossEntropyLoss())
model.eval()
actual, predicted = [], []
with torch.no_grad():
    for images, labels in test_loader:
        predicted += model(images.to(device)).argmax(dim=1).tolist()
        actual += labels.tolist()
accuracy = accuracy_score(actual, predicted)
precision = precision_score(actual, predicted, average="macro", zero_division=0)
recall = recall_score(actual, predicted, average="macro", zero_division=0)
""",
    ),
}

# Numbers of parameters that the projects state.
PARAMETERS = {
    "assignment7": (6379786, 10970, 6070, 11312, 9400, 9256, 5400, 7792),
    "era5": (592660,),
    "budget": (26698, 15106, 4506),
    "session7": (15580, 12704, 7596),
    "recognition": (3256926,),
}


def replaced(program: str) -> str:
    for old, new in REPLACEMENTS.items():
        program = program.replace(old, new)
    return program


@pytest.fixture
def run(digits: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that runs a program with its networks on a few images, in an empty directory."""
    found = AutoData(digits[0][:192], digits[1][:100], "digits")
    monkeypatch.setattr(sources, "load_auto", lambda **_: found)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    generator = importlib.import_module("pytorch_code")

    def run_program(networks: dict[str, str], program: str) -> dict[str, Any]:
        module = ModuleType("model")
        for name, network in networks.items():
            names: dict[str, Any] = {"nn": torch.nn}
            exec(generator.pytorch_code(mnistcnn.create_model(network)), names)
            setattr(module, name, names[generator.class_name(network)])
            getattr(module, name).__name__ = name
        monkeypatch.setitem(sys.modules, "model", module)
        names = {"mnistcnn": mnistcnn, "EPOCHS": 1}
        exec(replaced(program), names)
        return names

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield run_program


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs_after_the_replacements(
    name: str, run: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    if name.startswith("recognition"):
        pytest.importorskip("sklearn")
    networks, program = PROGRAMS[name]
    names = run(networks, program)
    printed = capsys.readouterr().out
    project = name.partition(":")[0]
    if "summary(" in program:
        for count in PARAMETERS[project]:
            assert f"Total params: {count:,}" in printed
    if project == "recognition":
        result = mnistcnn.test(names["model"], names["test_loader"].dataset, progress=False)
        for score in ("accuracy", "precision", "recall"):
            assert names[score] == pytest.approx(getattr(result, score))
    else:
        epochs = names.get("EPOCHS", 1)
        assert len(names["test_acc"]) == len(names["test_losses"]) == epochs
        assert f"/{100} (" in printed
    if project == "budget":
        assert {path.name for path in Path().glob("best_*.pth")} == {f"best_Model{number}.pth" for number in (1, 2, 3)}


def test_published_networks_have_the_stated_numbers_of_parameters() -> None:
    for name, (networks, _) in PROGRAMS.items():
        counts = tuple(mnistcnn.create_model(network).parameter_count for network in networks.values())
        assert counts == PARAMETERS[name.partition(":")[0]]


def test_every_replacement_is_used_and_listed_on_the_course_page() -> None:
    page = (ROOT / "docs" / "howto" / "course.md").read_text(encoding="utf-8")
    programs = "".join(program for _, program in PROGRAMS.values())
    for old, new in REPLACEMENTS.items():
        assert old in programs
        assert f"| `{old.strip(', ')}` | {f'`{new}`' if new else 'nothing'} |" in page
    for name in ("get_dataloaders", "display_plot", "summary", "train_model", "best_"):
        assert name in page


def test_page_of_the_requirements_names_existing_functions_and_tests() -> None:
    """Each row: requirement, function, test, result."""
    page = (ROOT / "docs" / "source_projects.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if "test_" in line and line.startswith("| ")]
    assert len(rows) > 12
    for row in rows:
        assert len(row) == 4, row
        tests = [part for part in row[2].split("`") if part.startswith("test_")]
        assert tests, row
        for each in tests:
            file, _, function = each.partition("::")
            assert f"def {function}(" in (ROOT / "tests" / "python" / file).read_text(encoding="utf-8"), each
