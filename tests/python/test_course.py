"""Course functions: a script in the style of the course, each function, and PyTorch as the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import mnistcnn
from mnistcnn import course
from mnistcnn.course import loop, sources, table
from mnistcnn.data.datasets import AutoData

NOTICE = "NOT MNIST: using the drawn data set 'digits' instead"

# A script in the style of the course, after the replacements of docs/howto/course.md, with fewer epochs.
SCRIPT = """
import torch
from mnistcnn.course import *
device = use_device()
train_loader, test_loader = data_loader(batch_size=64, shuffle=True)
model = mnistcnn.accelerate(Net()).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=15, gamma=0.1)
for epoch in range(1, 3):
    train_acc, train_losses = train(model, device, train_loader, optimizer)
    test_acc, test_losses = test(model, device, test_loader)
    scheduler.step()
batch_data, batch_label = next(iter(train_loader))
plot_data(batch_data, batch_label, 12)
"""


class Net(nn.Module):
    """Network in the style of the course: layers, with functions between them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 5, 2)
        self.conv2 = nn.Conv2d(4, 8, 3)
        self.fc1 = nn.Linear(200, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return F.log_softmax(self.fc1(x.view(-1, 200)), dim=1)


class Logits(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 1.5 + 3


class Probabilities(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softmax(super().forward(x), dim=1)


@pytest.fixture
def small(digits: Any, monkeypatch: pytest.MonkeyPatch, torch_randomness_restored: None) -> None:
    """Replace the data sets by parts of the digits, as if MNIST were not available."""
    found = AutoData(digits[0][:1280], digits[1][:500], f"{NOTICE}.")
    monkeypatch.setattr(sources, "load_auto", lambda **_: found)
    monkeypatch.setenv("MPLBACKEND", "agg")


@pytest.fixture
def batches(digits: Any) -> Any:
    """Return batches in a fixed order."""
    return list(mnistcnn.DataLoader(digits[0][:640], batch_size=64, shuffle=False))


@pytest.mark.usefixtures("small")
def test_script_of_the_course_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"Net": Net}
    exec(SCRIPT, names)
    out, err = capsys.readouterr()
    assert NOTICE in err
    lines = [line for line in out.splitlines() if line]
    assert len(lines) == 2
    assert all(line.startswith("Test set: Average loss: ") and "/500 (" in line for line in lines)
    assert len(names["train_losses"]) == len(names["train_acc"]) == 2 * 20, "entries of all epochs, for display_plot"
    assert len(names["test_losses"]) == len(names["test_acc"]) == 2
    assert names["test_acc"][-1] > 40, "accuracy must be above chance"
    assert names["train_losses"][-1] < names["train_losses"][0]
    assert names["optimizer"].param_groups[0]["lr"] == 0.01


LATER = """
summary(model, input_size=(1, 28, 28))
_ = display_plot(train_losses, train_acc, test_losses, test_acc)
torch.save(model.state_dict(), path)
again = Net()
again.load_state_dict(torch.load(path))
again_acc, again_losses = test(again.to(device), device, test_loader)
print(GetCorrectPredCount(model(batch_data.to(device)), batch_label.to(device)))
"""


@pytest.mark.usefixtures("small")
def test_accelerated_module_behaves_like_plain_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs the script with both, and compares batches, losses and tables. Weights load into a plain module."""
    runs, printed = [], []
    for net in ("mnistcnn.accelerate(Net())", "Net()"):
        torch.manual_seed(6)
        names: dict[str, Any] = {"Net": Net, "path": tmp_path / "weights.pt"}
        exec(SCRIPT.replace("mnistcnn.accelerate(Net())", net) + LATER, names)
        runs.append(names)
        printed.append([line for line in capsys.readouterr().out.splitlines() if line and "Test set" not in line])
    fast, plain = runs
    assert type(fast["model"]) is Net
    assert type(plain["model"]) is Net
    assert torch.equal(fast["batch_data"], plain["batch_data"])
    for each in ("train_losses", "test_losses"):
        assert fast[each] == pytest.approx(plain[each], rel=5e-3)
    assert fast["test_acc"] == pytest.approx(plain["test_acc"], abs=1.0)
    assert fast["again_losses"] == pytest.approx(fast["test_losses"][-1:], rel=1e-4)
    assert fast["again_acc"] == fast["test_acc"][-1:]
    assert printed[0][:-1] == printed[1][:-1], "the tables"


class Rows(nn.Module):
    """Network whose input is flat images, as in the first network of many notebooks."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x)


def test_module_with_flat_images(batches: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model = mnistcnn.accelerate(Rows(), input_shape=(784,))
    flat = [(images.view(-1, 784), labels) for images, labels in batches]
    for loader in (batches, flat):
        accuracies, _ = course.train(model, "cpu", loader, torch.optim.SGD(model.parameters(), lr=0.05))
    assert accuracies[-1] > accuracies[0]
    course.test(model, "cpu", batches)
    tested, _ = course.test(model, "cpu", flat)
    assert tested[0] == tested[1] > 30
    course.summary(model)
    assert "Linear-1                   [-1, 10]           7,850" in capsys.readouterr().out


def test_star_import_provides_the_names_of_the_course() -> None:
    names: dict[str, Any] = {}
    exec("from mnistcnn.course import *", names)
    wanted = "use_device train_transforms test_transforms make_data data_loader get_dataloaders train test plot_data"
    assert set(
        f"{wanted} display_plot summary train_model GetCorrectPredCount mnistcnn torch nn F optim".split()
    ) <= set(names)
    assert names["mnistcnn"] is mnistcnn


@pytest.mark.parametrize("kind", [Net, Logits, Probabilities])
def test_train_computes_the_losses_of_a_pytorch_loop(kind: type[nn.Module], batches: Any) -> None:
    """Covers a plain and an accelerated module."""
    torch.manual_seed(3)
    reference, plain, fast = kind(), kind(), mnistcnn.accelerate(kind())
    for other in (plain, fast):
        other.load_state_dict(reference.state_dict())
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05, momentum=0.9)
    wanted = []
    for images, labels in batches:
        optimizer.zero_grad()
        outputs = reference(images)
        if kind is Probabilities:
            outputs = outputs.log()
        loss = F.cross_entropy(outputs, labels)  # equals nll_loss for log-probabilities
        loss.backward()
        optimizer.step()
        wanted.append(loss.item())
    for model in (plain, fast):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        accuracies, losses = course.train(model, "cpu", batches, optimizer)
        assert losses == pytest.approx(wanted, rel=2e-4)
        assert all(0 <= each <= 100 for each in accuracies)


def test_loss_and_accuracy_of_test_match_pytorch(batches: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model = Net()
    images, labels = (torch.cat(each) for each in zip(*batches, strict=True))
    with torch.no_grad():
        outputs = model(images)
    correct = int((outputs.argmax(1) == labels).sum())
    accuracies, losses = course.test(model, torch.device("cpu"), batches)
    assert losses == pytest.approx([F.nll_loss(outputs, labels).item()], rel=1e-5)
    assert accuracies == [100 * correct / 640]
    line = f"Test set: Average loss: {losses[0]:.4f}, Accuracy: {correct}/640 ({accuracies[0]:.2f}%)"
    assert capsys.readouterr().out == f"\n{line}\n\n"


CRITERIA: dict[str, tuple[type[nn.Module], Any]] = {
    "function": (Net, F.nll_loss),
    "module": (Logits, nn.CrossEntropyLoss()),
    "sum": (Logits, nn.CrossEntropyLoss(reduction="sum")),
    "smoothed": (Logits, nn.CrossEntropyLoss(label_smoothing=0.1)),
    "own": (Logits, lambda outputs, labels: F.multi_margin_loss(outputs, labels)),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_train_and_test_with_a_criterion(name: str, batches: Any) -> None:
    """Compares with a PyTorch loop. The loss of a test is the mean over the images."""
    kind, criterion = CRITERIA[name]
    torch.manual_seed(4)
    model = kind()
    reference = kind()
    reference.load_state_dict(model.state_dict())
    wanted = []
    optimizer = torch.optim.SGD(reference.parameters(), lr=1e-4)
    for images, labels in batches:
        optimizer.zero_grad()
        loss = criterion(reference(images), labels)
        loss.backward()
        optimizer.step()
        wanted.append(loss.item())
    _, losses = course.train(model, "cpu", batches, torch.optim.SGD(model.parameters(), lr=1e-4), criterion)
    assert losses == pytest.approx(wanted, rel=1e-5)
    with torch.no_grad():
        images, labels = (torch.cat(each) for each in zip(*batches, strict=True))
        mean = criterion(reference(images), labels).item() / (640 if name == "sum" else 1)
    assert course.test(model, "cpu", batches, criterion)[1] == pytest.approx([mean], rel=1e-4)


@pytest.mark.parametrize("arguments", [(7,), (None, 7), (F.nll_loss, 7)])
def test_progress_bar_shows_the_epoch(arguments: Any, batches: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(loop.ProgressBar, "show", lambda self, done, *, title: titles.append(title))
    model = Net()
    course.train(model, "cpu", batches, torch.optim.SGD(model.parameters(), lr=0.01), *arguments)
    assert len(titles) == 10
    assert all(title.startswith("Epoch=7 Loss=") for title in titles)


@pytest.mark.parametrize("arguments", [(3,), (None, 3), (F.nll_loss, 3)])
def test_test_prints_the_epoch(arguments: Any, batches: Any, capsys: pytest.CaptureFixture[str]) -> None:
    course.test(Net(), "cpu", batches, *arguments)
    assert capsys.readouterr().out.startswith("\nEpoch 3: Test set: Average loss: ")


@pytest.mark.parametrize("position", ["criterion", "epoch", "after the epoch"])
def test_a_scheduler_among_the_arguments_raises(position: str, batches: Any) -> None:
    """It would be ignored silently, and the learning rate would stay constant."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    before = model.fc1.weight.clone()
    arguments = {"criterion": (scheduler,), "epoch": (F.nll_loss, scheduler), "after the epoch": (1, scheduler)}
    for call in (
        lambda *rest: course.train(model, "cpu", batches, optimizer, *rest),
        lambda *rest: course.test(model, "cpu", batches, *rest),
    ):
        with pytest.raises(TypeError, match=r"got StepLR; call scheduler\.step\(\)"):
            call(*arguments[position])
    assert torch.equal(model.fc1.weight, before)


def test_get_correct_pred_count() -> None:
    outputs = torch.randn(50, 10, generator=torch.Generator().manual_seed(2), requires_grad=True)
    labels = torch.arange(50) % 10
    assert course.GetCorrectPredCount(outputs, labels) == sum(
        int(row.argmax()) == n % 10 for n, row in enumerate(outputs)
    )


class WithFeatures(Net):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x), x.flatten(1)


def test_lists_accumulate_per_model(batches: Any) -> None:
    first, second = Net(), Net()
    for model, length in ((first, 10), (first, 20), (second, 10)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        accuracies, losses = course.train(model, "cpu", batches, optimizer)
        assert (len(accuracies), len(losses)) == (length, length)
        losses.clear()  # must not change the stored list


@pytest.mark.parametrize("seed", range(3))
def test_output_kind_is_determined_from_values(seed: int) -> None:
    logits = torch.randn(16, 10, generator=torch.Generator().manual_seed(seed))
    assert loop.output_kind(logits) == "logits"
    assert loop.output_kind(logits.relu()) == "logits"
    assert loop.output_kind(logits.softmax(1)) == "probabilities"
    assert loop.output_kind(logits.log_softmax(1)) == "log_probabilities"


def test_train_stores_the_normalization_in_a_zoo_network(digits: Any) -> None:
    model = mnistcnn.create_model("budget_model3")
    loader = mnistcnn.DataLoader(digits[0][:640], batch_size=64)
    course.train(model, "cpu", loader, torch.optim.SGD(model.parameters(), lr=0.01))
    assert model.normalization == loader.normalization
    score = loop.evaluate(model, "cpu", mnistcnn.DataLoader(digits[1][:300], normalization=loader.normalization))
    assert mnistcnn.test(model, digits[1][:300], progress=False).correct == score.correct


@pytest.mark.usefixtures("small")
def test_loaders_use_torch_seed_and_training_set_normalization() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        images: torch.Tensor = next(iter(course.data_loader(batch_size=32, num_workers=4, pin_memory=True)[0]))[0]
        return images

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    train_loader, test_loader = course.data_loader(batch_size=32, shuffle=False)
    assert train_loader.normalization == test_loader.normalization
    assert train_loader.normalization == mnistcnn.Normalization.of(course.make_data()[0])
    assert (len(train_loader), len(test_loader)) == (40, 16)
    assert train_loader.augment
    assert not test_loader.augment


def test_get_dataloaders_searches_data_dir_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Any) -> None:
    searched = []

    def load(name: str, **options: Any) -> Any:
        if name == "digits":
            return digits
        searched.append(options["root"])
        raise OSError("not here")

    monkeypatch.setattr("mnistcnn.data.datasets.load", load)
    train_loader, test_loader = course.get_dataloaders(tmp_path, 100, 2, True)
    assert searched == [tmp_path]
    assert (len(train_loader), len(test_loader)) == (600, 100)


@pytest.mark.usefixtures("mnist")
def test_data_loader_uses_mnist_if_available(capsys: pytest.CaptureFixture[str]) -> None:
    train_loader, test_loader = course.data_loader(batch_size=128)
    assert capsys.readouterr().err == ""
    assert (train_loader.dataset.name, len(train_loader.dataset), len(test_loader.dataset)) == ("mnist", 60000, 10000)
    assert train_loader.normalization == mnistcnn.Normalization(0.1307, 0.3081)


def test_transforms_accept_pil_images(torch_randomness_restored: None) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (28, 28), np.uint8)
    made = course.test_transforms()(Image.fromarray(pixels))
    assert made.shape == (1, 28, 28)
    wanted = (torch.from_numpy(pixels).float() / 255 - 0.1307) / 0.3081
    assert torch.allclose(made[0], wanted, atol=1e-5)
    rotated = course.train_transforms()
    several = [rotated(pixels) for _ in range(3)]
    assert not torch.equal(several[0], several[1])
    colours = course.test_transforms()(Image.fromarray(np.stack([pixels, pixels // 2, pixels // 3], -1)))
    assert torch.equal(colours[0], made[0])
    assert colours.shape == (3, 28, 28)
    with pytest.raises(TypeError, match="uint8"):
        rotated(pixels.astype(np.float32))


def test_plot_data_and_display_plot() -> None:
    figure = course.plot_data(torch.randn(20, 1, 28, 28), torch.arange(20), 12)
    assert len(figure.axes[0].images) == 12
    assert [text.get_text() for text in figure.axes[0].texts] == [str(each) for each in range(12)]
    with pytest.raises(ValueError, match=r"n_images .*1 to 20.* got 21"):
        course.plot_data(torch.randn(20, 1, 28, 28), torch.arange(20), 21)
    figure = course.display_plot([torch.tensor(2.0), 1.0], [10.0, 20.0], [0.5, 0.4, 0.3], [80.0, 85.0, 88.0])
    drawn = [ax.lines[0].get_ydata().tolist() for ax in figure.axes]
    assert drawn == [[2.0, 1.0], [0.5, 0.4, 0.3], [10.0, 20.0], [80.0, 85.0, 88.0]]
    assert figure.axes[1].lines[0].get_xdata().tolist() == [1, 2, 3]


# Output of torchsummary 1.5.1 for the same network in PyTorch.
TABLE = """\
----------------------------------------------------------------
        Layer (type)               Output Shape         Param #
================================================================
            Conv2d-1           [-1, 32, 26, 26]             288
              ReLU-2           [-1, 32, 26, 26]               0
            Conv2d-3           [-1, 64, 24, 24]          18,432
         MaxPool2d-4           [-1, 64, 12, 12]               0
              ReLU-5           [-1, 64, 12, 12]               0
            Conv2d-6          [-1, 128, 10, 10]          73,728
              ReLU-7          [-1, 128, 10, 10]               0
            Conv2d-8            [-1, 256, 8, 8]         294,912
         MaxPool2d-9            [-1, 256, 4, 4]               0
             ReLU-10            [-1, 256, 4, 4]               0
          Flatten-11                 [-1, 4096]               0
           Linear-12                   [-1, 50]         204,800
             ReLU-13                   [-1, 50]               0
           Linear-14                   [-1, 10]             500
       LogSoftmax-15                   [-1, 10]               0
================================================================
Total params: 592,660
Trainable params: 592,660
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 0.00
Forward/backward pass size (MB): 1.17
Params size (MB): 2.26
Estimated Total Size (MB): 3.43
----------------------------------------------------------------
"""


def test_summary_equals_torchsummary(capsys: pytest.CaptureFixture[str]) -> None:
    course.summary(mnistcnn.create_model("era5_net"), input_size=(1, 28, 28))
    assert capsys.readouterr().out == TABLE


def test_summary_accepts_the_input_size_of_torchinfo(capsys: pytest.CaptureFixture[str]) -> None:
    model = mnistcnn.create_model("era5_net")
    course.summary(model, input_size=(1, 1, 28, 28))
    assert capsys.readouterr().out == TABLE.replace(" [-1, ", "  [1, ")
    course.summary(model, input_size=(8, 1, 28, 28))
    assert capsys.readouterr().out == table.text(model, (1, 28, 28), 8) + "\n"
    with pytest.raises(ValueError, match=r"batch_size must be -1 or 8, .* got 4"):
        course.summary(model, (8, 1, 28, 28), 4)


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_summary_of_zoo_networks(name: str) -> None:
    model = mnistcnn.create_model(name)
    lines = table.text(model).splitlines()
    assert f"Total params: {model.parameter_count:,}" in lines
    assert len([line for line in lines if line.endswith(tuple("0123456789")) and "[-1, " in line]) == len(model.rows)


def test_summary_lists_called_modules_and_keeps_the_state() -> None:
    module = nn.Sequential(nn.BatchNorm2d(1), Net())
    module[1].conv1.weight.requires_grad_(False)
    module[1].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    printed = table.text(module)
    names = [line.split()[0] for line in printed.splitlines() if "[-1, " in line]
    assert names == ["BatchNorm2d-1", "Conv2d-2", "Conv2d-3", "Linear-4", "Net-5"]
    assert "Non-trainable params: 100" in printed
    assert (module.training, module[1].training, module[1].fc1.training) == (True, False, False)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert table.text(mnistcnn.accelerate(Net())) == table.text(Net())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["zoo", "accelerated", "plain"])
def test_train_model_keeps_the_best_weights(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = {
        "zoo": lambda: mnistcnn.create_model("budget_model3"),
        "accelerated": lambda: mnistcnn.accelerate(Net()),
        "plain": Net,
    }[kind]()
    curves = course.train_model(model, epochs=3, learning_rate=0.005)
    name = "best_budget_model3.pth" if kind == "zoo" else "best_Net.pth"
    out = capsys.readouterr().out
    best = max(curves.validation_acc)
    assert f"Best model so far saved as {name} ({best:.2f}%)" in out
    assert out.rstrip().splitlines()[-1].startswith("Test set: Average loss: ")
    assert len(curves.validation_losses) == 3
    assert len(curves.train_losses) == 3 * 9  # 1280 images less a sixth, in batches of 128
    saved = torch.load(tmp_path / name, weights_only=True)
    assert all(torch.equal(saved[key], tensor) for key, tensor in model.state_dict().items())
    assert len(course.display_plot(*curves).axes) == 4


def test_invalid_arguments_raise(batches: Any) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for call, message in (
        (
            lambda: course.train(model, "cpu", batches, mnistcnn.optim.SGD(lr=0.1)),
            "optimizer must be .*torch.optim",
        ),
        (lambda: course.train(Net, "cpu", batches, optimizer), "model must be a torch.nn.Module"),
        (lambda: course.test("net", "cpu", batches), "model must be a torch.nn.Module"),
        (lambda: course.test(model, "cpu", 3), "loader must be .*got int"),
        (lambda: course.train(model, "cpu", [], optimizer), "train_loader .*no batches"),
        (lambda: course.test(model.conv1, "cpu", batches), r"outputs .*\[N, classes\]"),
        (
            lambda: course.train(WithFeatures(), "cpu", batches, optimizer),
            r"outputs .*got tuple; .*accelerate\(net, output=0",
        ),
        (lambda: course.test(WithFeatures(), "cpu", batches, F.nll_loss), "outputs .*got tuple"),
        (
            lambda: course.train(model, "cpu", batches, optimizer, [], []),
            "criterion must be .*return their lists",
        ),
        (lambda: course.test(model, "cpu", batches, "nll"), "criterion must be .*got 'nll'"),
        (lambda: course.train(model, "cpu", batches, optimizer, None, "first"), "epoch must be an integer, got str"),
        (lambda: course.summary("net"), "model must be a torch.nn.Module"),
        (lambda: course.train_model(model, epochs=0), "epochs"),
        (lambda: course.train_model(model, 1, learning_rate=-1), "learning_rate"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def test_image_set_instead_of_a_loader_raises(digits: Any) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    with pytest.raises(TypeError, match=r"loader must be .*got ImageSet; write mnistcnn.DataLoader\(image_set\)"):
        course.test(net, "cpu", digits[1])
