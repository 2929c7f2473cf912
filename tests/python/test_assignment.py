"""`mnistcnn.check` and ``mnistcnn check``: the requirements of the course's assignment."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner, Result

import mnistcnn
from mnistcnn.callbacks import EpochRecord
from mnistcnn.cli import app
from mnistcnn.course.assignment import Assignment, CheckResult, check_network, reaches
from mnistcnn.course.networks import network_of
from mnistcnn.study.trials import Trial

ASSIGNMENT = Assignment(8000, ("batchnorm", "dropout", "gap"), (), 15, 0.994, 3)


class Net(nn.Module):
    """Network that meets all requirements of the structure, with functional dropout and pooling."""

    def __init__(self, width: int = 8, *, norm: bool = True, dropout: float = 0.05, gap: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.dropout, self.gap = dropout, gap
        self.out = nn.Conv2d(width, 10, 1)
        self.full = nn.Conv2d(10, 10, 13, groups=10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(F.relu(self.norm(self.conv(x))), self.dropout, self.training)
        x = self.out(x)
        return x.mean((2, 3)) if self.gap else self.full(x).flatten(1)


def verdicts(result: CheckResult) -> dict[str, bool]:
    return {each.name: each.passed for each in result.requirements}


ALL = {"parameters": True, "batchnorm": True, "dropout": True, "gap": True}


@pytest.mark.parametrize(
    ("net", "failed"),
    [
        (Net(), set()),
        (Net(width=300), {"parameters"}),
        (Net(norm=False), {"batchnorm"}),
        (Net(dropout=0.0), {"dropout"}),
        (Net(gap=False), {"gap"}),
        (Net(norm=False, gap=False), {"batchnorm", "gap"}),
    ],
)
def test_structure(net: Net, failed: set[str]) -> None:
    result = mnistcnn.check(net, target=None)
    assert verdicts(result) == {name: name not in failed for name in ALL}
    assert bool(result) == result.passed == (not failed)
    assert result.trials is None


@pytest.mark.parametrize(
    ("name", "failed"),
    [("compact_net", {"dropout"}), ("session7_net", {"gap"}), ("assignment7_model4", {"parameters"})],
)
def test_structure_of_published_networks(name: str, failed: set[str]) -> None:
    assert {each for each, passed in verdicts(mnistcnn.check(name, target=None)).items() if not passed} == failed


def test_parameters_of_unused_layers_count() -> None:
    row = mnistcnn.check(Net(), target=None).requirements[0]
    assert row.found == f"1,886 ({10 * 169 + 10:,} in layers that `forward` does not use)"
    assert mnistcnn.check(Net(), target=None, max_parameters=1885).passed is False
    assert mnistcnn.check(Net(), target=None, max_parameters=1886).passed is True
    assert "parameters" not in verdicts(mnistcnn.check(Net(), target=None, max_parameters=None))


def test_forbidden_feature() -> None:
    assert mnistcnn.check(Net(), target=None, forbid=["linear"]).passed
    result = mnistcnn.check(Net(), target=None, require=[], forbid=["gap"])
    assert verdicts(result) == {"parameters": True, "gap": False}


def test_assert_passed_raises_the_table() -> None:
    mnistcnn.check(Net(), target=None).assert_passed()
    with pytest.raises(AssertionError, match=r"✗ +dropout +required +none"):
        mnistcnn.check(Net(dropout=0.0), target=None).assert_passed()


def trial(*accuracies: float | None, diverged: bool = False) -> Trial:
    records = [EpochRecord(i + 1, 0.1, 0.9, 0.1, each, 0.01, 1.0) for i, each in enumerate(accuracies)]
    return Trial(0, mnistcnn.History(epochs=records), None if diverged else accuracies[-1], 0.1)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((0.9, 0.994, 0.9941, 0.996), True),
        ((0.994, 0.994, 0.994), True),
        ((0.996, 0.997, 0.998, 0.9939), False),  # the best epochs do not count
        ((0.996, 0.9939, 0.997, 0.998), False),
        ((0.9939, 0.996, 0.997, 0.998), True),
        ((0.996, 0.997), False),
        ((0.996, None, 0.997), False),
    ],
)
def test_last_epochs_must_reach_the_target(accuracies: tuple[float | None, ...], expected: bool) -> None:
    assert reaches(trial(*accuracies), 0.994, 3) is expected
    assert reaches(trial(*accuracies, diverged=True), 0.994, 3) is False


@pytest.fixture(scope="module")
def sets(digits: Any) -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    return digits[0][:300], digits[1][:100]


def test_check_trains_and_reports_the_last_epochs(sets: Any) -> None:
    net = Net()
    before = [each.clone() for each in net.parameters()]
    result = mnistcnn.check(net, *sets, target=0.01, epochs=4, last=2, progress=False)
    assert result.passed
    assert result.trials is not None
    epochs = result.trials.histories[0].epochs
    assert len(epochs) == 4
    row = result.requirements[-1]
    assert row.required == "at least 1.00 % in each of the last 2 epochs"
    last = ", ".join(f"{100 * (each.validation_accuracy or 0):.2f}" for each in epochs[-2:])
    assert row.found == f"seed 0: {last} %"
    assert epochs[-1].validation_accuracy == result.trials.accuracies[0]  # of the test set
    assert "report, not used for model selection" in repr(result)
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


def test_every_seed_must_reach_the_target(sets: Any) -> None:
    probe = mnistcnn.check(Net(), *sets, target=1.0, epochs=1, last=1, seeds=[3, 5], progress=False)
    assert probe.trials is not None
    low, high = sorted(probe.trials.accuracies)
    assert low < high
    seed = probe.trials.seeds[probe.trials.accuracies.index(low)]
    result = mnistcnn.check(Net(), *sets, target=high, epochs=1, last=1, seeds=[3, 5], progress=False)
    assert not result.passed
    assert result.requirements[-1].found == f"1 of 2 seeds; seed {seed}: {100 * low:.2f} %"
    assert mnistcnn.check(Net(), *sets, target=low, epochs=1, last=1, seeds=[3, 5], progress=False).passed


def test_training_that_diverges_fails(sets: Any) -> None:
    recipe = mnistcnn.Recipe(optimizer=mnistcnn.optim.SGD(lr=1e20))
    result = mnistcnn.check(Net(), *sets, recipe, target=0.01, epochs=2, last=1, progress=False)
    assert not result.passed
    assert "diverged" in result.requirements[-1].found


def test_longer_recipe_is_shortened_and_shorter_one_is_kept() -> None:
    assert ASSIGNMENT.recipe(mnistcnn.Recipe(epochs=20)).epochs == 15
    assert ASSIGNMENT.recipe(mnistcnn.Recipe(epochs=10)).epochs == 10


def test_check_uses_the_recipe_of_the_class(sets: Any) -> None:
    class Own(Net):
        recipe = mnistcnn.Recipe(epochs=2, batch_size=50)

    network = network_of(Own())
    result = check_network(network, replace(ASSIGNMENT, last=1), *sets, None, progress=False)
    assert result.trials is not None
    assert result.trials.recipe == Own.recipe


def test_recipe_must_be_a_recipe(sets: Any) -> None:
    with pytest.raises(TypeError, match="recipe must be a Recipe"):
        mnistcnn.check(Net(), *sets, "published", progress=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 99.4}, "for 99.4 % pass 0.994"),
        ({"require": ["gpa"]}, "did you mean 'gap'"),
        ({"forbid": ["fc"]}, "got 'fc'"),
        ({"last": 0}, "last must be an integer of at least 1, got 0"),
        ({"epochs": 2}, "last must be at most the number of epochs, 2, got 3"),
        ({"max_parameters": -1}, "max_parameters"),
        ({"test_set": None}, "train_set and test_set must be given together"),
        ({"recipe": mnistcnn.Recipe(schedule=mnistcnn.optim.ReduceLROnPlateau())}, 'use monitor="train_loss"'),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str, sets: Any) -> None:
    with pytest.raises(ValueError, match=message):
        mnistcnn.check(Net(), **{"train_set": sets[0], "test_set": sets[1], "progress": False, **options})


def test_markdown_and_dictionary() -> None:
    result = mnistcnn.check(Net(dropout=0.0), target=None)
    assert "| ✗ | dropout | required | none; dropout has no effect: p is 0 or training=False |" in result.to_markdown()
    assert result.to_markdown().startswith("### Net: 1 of 4 requirements failed\n\n| ")
    values = json.loads(json.dumps(result.to_dict()))
    assert values["passed"] is False
    assert [each["passed"] for each in values["requirements"]] == [True, True, False, True]
    assert "<table" in result._repr_html_()


# ---- command line


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def test_command_checks_the_structure(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    done = command("compact_net", "--no-train", "--require", "batchnorm, gap", "--summary", str(summary))
    assert (done.exit_code, "✓   gap" in done.stdout) == (0, True)
    assert summary.read_text().startswith("before\n### compact_net: all 3 passed\n\n| ")
    assert command("compact_net", "--no-train").exit_code == 1
    assert command("compact_net", "--no-train", "--require", "gap", "--forbid", "linear").exit_code == 1
    assert command("compact_net", "--no-train", "--require", "gap", "--max-parameters", "7569").exit_code == 1


def test_command_trains_a_class_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(
        "from torch import nn\nprint('imported')\nclass Small(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(1, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 10, 1), nn.Flatten())\n"
    )
    options = ("--data", "digits", "--images", "200", "--epochs", "1", "--last", "1", "--require", "gap", "--json")
    done = command(f"{path}:Small", "--target", "1", *options)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["model"] == "Small"
    assert [each["passed"] for each in report["requirements"]] == [True, True, True]
    assert len(report["trials"]["trials"]) == 1
    assert command(f"{path}:Small", "--target", "100", *options).exit_code == 1


NETWORKS = """
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    width, norm, rate, gap, linear = 16, True, 0.05, True, False

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.conv2 = nn.Conv2d(8, self.width, 3)
        self.norm2 = nn.BatchNorm2d(self.width)
        if self.linear:
            self.fc = nn.Linear(self.width, 10)
        else:
            self.out = nn.Conv2d(self.width, 10, 1 if self.gap else 3)

    def forward(self, x):
        x = self.conv2(F.max_pool2d(F.relu(self.conv1(x)), 2))
        x = F.relu(self.norm2(x) if self.norm else x)
        x = F.max_pool2d(F.dropout(x, self.rate, training=self.training), 3)
        if self.linear:
            return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        x = self.out(x)
        x = F.adaptive_avg_pool2d(x, 1) if self.gap else x[:, :, :1, :1]
        return F.log_softmax(x.view(-1, 10), dim=1)

class Wide(Net):
    width = 100

class WithoutNorm(Net):
    norm = False

class WithoutDropout(Net):
    rate = 0.0

class WithoutGap(Net):
    gap = False

class WithLinear(Net):
    linear = True
"""


@pytest.mark.parametrize(
    ("target", "failed"),
    [
        ("assignment7_model7", []),
        ("session7_net", ["gap required none; gap averages 3x3 of a 5x5 map"]),
        ("compact_net", ["dropout required none", "linear not allowed fc"]),
        ("networks.py:Net", []),
        ("networks.py:Wide", ["parameters at most 8,000 8,590"]),
        ("networks.py:WithoutNorm", ["batchnorm required none"]),
        ("networks.py:WithoutDropout", ["dropout required none; dropout has no effect: p is 0 or training=False"]),
        ("networks.py:WithoutGap", ["gap required none"]),
        ("networks.py:WithLinear", ["linear not allowed fc"]),
    ],
)
def test_verdict_of_a_network(target: str, failed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS)
    done = command(target, "--no-train", "--forbid", "linear")
    title, *rows = (" ".join(line.split()) for line in done.stdout.splitlines())
    verdict = f"{len(failed)} of 5 requirements failed" if failed else "all 5 passed"
    assert title == f"{target.rpartition(':')[2]}: {verdict}"
    assert [row for row in rows if row.startswith("✗")] == [f"✗ {each}" for each in failed]
    assert done.exit_code == (1 if failed else 0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from torch import nn\nclass Net(nn.Module)\n", "model.py cannot be imported: model.py:2: SyntaxError"),
        ("while True:\n    pass\n", "model.py took longer than 1 s to import and to create Net"),
    ],
)
def test_file_that_cannot_be_imported_has_exit_code_2(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(source)
    limit = ("--time-limit", "1") if "while" in source else ()
    done = command("model.py:Net", "--no-train", *limit)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.py:Net",), "file nothing.py does not exist"),
        (("model.py",), "file.py:Class"),
        (("nothing",), "there is no model 'nothing'"),
        (("budget_model3",), "must not monitor a validation set"),
        (("compact_net", "--require", "gpa"), "did you mean 'gap'"),
        (("compact_net", "--last", "16"), "last must be at most the number of epochs, 15, got 16"),
        (("compact_net", "--recipe", "none.json"), "none.json does not exist"),
        (("compact_net", "--seeds", "0"), "--seeds"),
    ],
)
def test_wrong_usage_has_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_commands_of_the_workflow_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the steps in model.py by a published network, and run the commands of the workflow without training."""
    text = (Path(__file__).parents[2] / "examples" / "course" / "check.yml").read_text(encoding="utf-8")
    commands = re.findall(r"mnistcnn (check (?:.+\n\s+--)*.+)", text)
    assert len(commands) == 3
    summary = tmp_path / "summary.md"
    for each in commands:
        words = shlex.split(each.replace("$GITHUB_STEP_SUMMARY", str(summary)))
        assert re.fullmatch(r"model\.py:Model_[123]", words[1])
        done = command("assignment7_model4", *words[2:], "--no-train")
        assert done.exit_code in (0, 1), done.output
    assert summary.exists()
