"""The README that ``mnistcnn report`` writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import mnistcnn
from mnistcnn.cli import app
from mnistcnn.course.networks import Network, network_of
from mnistcnn.course.report import Step, check_report_path, described_parts, layers_table, run_step, write_report
from mnistcnn.layers import AvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU

RECIPE = mnistcnn.Recipe(epochs=2, batch_size=32)


def network(name: str, layers: list[Any], description: str = "") -> Network:
    model = mnistcnn.Model(layers, name=name)
    return Network(model, model.parameter_count, RECIPE, description)


def convolutional(name: str = "Model_1") -> Network:
    layers = [Conv2d(4, 5, stride=2), BatchNorm2d(), ReLU(), MaxPool2d(2), Conv2d(10, 1), AvgPool2d(6), Flatten()]
    return network(name, layers, "Small net.\n\nTarget: 50 %\nwith $5.\n\nAnalysis: too\nsmall.")


@pytest.fixture(scope="module")
def sets(digits: Any) -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    return digits[0][:200], digits[1][:60]


def write(folder: Path, steps: list[Step], test_set: mnistcnn.ImageSet) -> str:
    write_report(folder / "README.md", steps, test_set, command="mnistcnn report ...", data="digits")
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def step(sets: Any) -> Step:
    return run_step("Model_1", convolutional(), RECIPE, *sets, progress=False)


def test_report_of_a_step(step: Step, sets: Any, tmp_path: Path) -> None:
    text = write(tmp_path, [step], sets[1])
    accuracy = f"{100 * step.runs[0].result.accuracy:.2f} %"
    assert "| [Model_1](#model_1) | 162 | 27 | 2 | " in text
    assert f"Test accuracy after 2 epochs: {accuracy}." in text
    assert "**Target.** 50 %\nwith $5.\n" in text
    assert "**Analysis.** too\nsmall.\n" in text
    assert "| 0 | conv2d | 4x12x12 | 5x5 | 2 | 0 | 5 | 2 | 104 |" in text
    assert "| 3 | maxpool2d | 4x6x6 | 2x2 | 2 | 0 | 7 | 4 |  |" in text
    last = step.runs[0].history.last
    assert f"| 2 | {last.train_loss:.4f} | {100 * last.train_accuracy:.2f} % | {last.validation_loss:.4f} | " in text
    assert "not used to select an epoch" in text
    assert "## Comparison" not in text
    assert not re.search(r"\$\w", text.replace("$5", ""))  # all placeholders are filled
    pictures = re.findall(r"\]\((pictures/\w+\.png)\)", text)
    assert len(pictures) == 3
    for each in pictures:
        with Image.open(tmp_path / each) as image:
            assert image.size[0] > 300


def test_layers_have_the_receptive_fields_of_the_summary() -> None:
    model = mnistcnn.create_model("session7_net")
    rows = re.findall(
        r"^\| (\S+) \| \w+ \| [\dx]+ \| [\dx]* \| \d* \| \d* \| (\d*) \| (\d*) \| [\d,]* \|$",
        layers_table(model),
        re.MULTILINE,
    )
    summary = model.summary().rows
    assert rows == [(row.name, str(row.receptive_field or ""), str(row.jump or "")) for row in summary]


def test_several_seeds_are_compared(sets: Any, tmp_path: Path) -> None:
    steps = [
        run_step(name, convolutional(name), RECIPE, *sets, seeds=2, progress=False) for name in ("Model_1", "Model_2")
    ]
    text = write(tmp_path, steps, sets[1])
    assert "## Comparison" in text
    found = mnistcnn.compare(steps[1].accuracies, steps[0].accuracies, names=("Model_2", "Model_1"))
    assert f"\n**Model_2 and Model_1:** {found.verdict}.\n" in text
    assert "(mean ± standard deviation of 2 seeds)" in text
    assert (tmp_path / "pictures" / "comparison.png").exists()


def test_runs_have_the_accuracies_of_run_trials(sets: Any) -> None:
    found = run_step("Model_1", convolutional(), RECIPE, *sets, seeds=2, progress=False)
    trials = mnistcnn.run_trials(convolutional().model, *sets, RECIPE, seeds=2, log=None, progress=False)
    assert found.accuracies == trials.accuracies


def test_complete_run_is_read_from_its_checkpoint(step: Step, sets: Any, tmp_path: Path) -> None:
    options = {"checkpoints": tmp_path / "runs", "progress": False}
    run_step("Model_1", convolutional(), RECIPE, *sets, **options)
    files = sorted((tmp_path / "runs" / "Model_1" / "seed-0").iterdir())
    times = [each.stat().st_mtime_ns for each in files]
    again = run_step("Model_1", convolutional(), RECIPE, *sets, **options)
    assert again.accuracies == step.accuracies
    assert [each.stat().st_mtime_ns for each in files] == times


def test_network_without_maps_has_no_grad_cam(sets: Any, tmp_path: Path) -> None:
    flat = run_step("Model_1", network("Model_1", [Flatten(), Linear(10)]), RECIPE, *sets, progress=False)
    text = write(tmp_path, [flat], sets[1])
    assert "there is no Grad-CAM" in text
    assert "*Write it in the docstring of `Model_1`.*" in text


@pytest.mark.parametrize(
    ("docstring", "title", "target", "analysis"),
    [
        ("", "", "", ""),
        ("A net.", "A net.", "", ""),
        ("A net.\n\nTarget:\n\nAnalysis:", "A net.", "", ""),
        ("A net.\n\nTarget: 99 %\n\nmore\n\nResult: 98 %\n\nAnalysis : bad", "A net.", "99 %\n\nmore", "bad"),
        ("Target: 99 %\nResult: 98 %\nAnalysis: bad", "", "99 %", "bad"),
    ],
)
def test_parts_of_a_docstring(docstring: str, title: str, target: str, analysis: str) -> None:
    assert described_parts(docstring) == {"title": title, "target": target, "analysis": analysis}


def test_other_files_are_not_overwritten(step: Step, sets: Any, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"is not a report of mnistcnn; give another path with -o"):
        check_report_path(path)
    with pytest.raises(FileExistsError):
        write(tmp_path, [step], sets[1])
    assert path.read_text() == "mine"
    path.unlink()
    write(tmp_path, [step], sets[1])
    check_report_path(path)  # a report may be renewed
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_report_path(tmp_path / "nothing" / "README.md")


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--data", "digits", "--images", "100", "--epochs", "1"]
    done = CliRunner().invoke(app, ["report", "session7_net", *options, "-o", "report.md"])
    assert done.exit_code == 0, done.output
    pictures = (f"pictures/session7_net_{name}.png" for name in ("curves", "mistakes", "grad_cam"))
    assert done.stdout.splitlines() == [f"written: {path}" for path in ("report.md", *pictures)]
    assert "## session7_net" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.py:Net",), "file nothing.py does not exist"),
        (("session7_net", "session7_net"), "the names of the steps must be different"),
        (("budget_model3",), "must not monitor a validation set"),
    ],
)
def test_wrong_usage_has_exit_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", *arguments])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_description_of_a_module_is_its_own_docstring() -> None:
    class Own(nn.Sequential):
        """Target: 99 %."""

    assert network_of(Own(nn.Flatten(), nn.Linear(784, 10))).description == "Target: 99 %."
    assert network_of(nn.Sequential(nn.Flatten(), nn.Linear(784, 10))).description != "Target: 99 %."
