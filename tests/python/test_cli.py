from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import mnistcnn
from emnist_files import emnist_contents, glyph
from mnistcnn.cli import epoch_tests
from mnistcnn.cli.best_epoch import BestEpoch
from mnistcnn.cli.command import in_options
from mnistcnn.cli.main import main
from mnistcnn.cli.options import Data
from mnistcnn.data.datasets import DATASETS
from mnistcnn.evaluation import evaluate
from mnistcnn.nn.pretrained import cards

Result = subprocess.CompletedProcess[str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Return a function that runs a command in an empty directory, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["mnistcnn", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Result(arguments, ended.value.code or 0, *capsys.readouterr())

    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # print warnings, as outside of pytest
        yield call
    signal.signal(signal.SIGTERM, handler)


def test_models_lists_published_networks(run: Any) -> None:
    listed = json.loads(run("models", "--json").stdout)
    assert [row["name"] for row in listed] == mnistcnn.list_models()
    assert {row["name"]: row["pretrained"] for row in listed if row["pretrained"]} == {
        name: card.test_accuracy for name, card in cards().items()
    }
    assert "session7_net" in run("models", "session7*").stdout
    assert "budget" not in run("models", "session7*").stdout


def test_summary_of_network_and_of_saved_model(run: Any, tmp_path: Path) -> None:
    by_name = run("summary", "budget_model3").stdout
    assert "4,506 parameters" in by_name
    mnistcnn.create_model("budget_model3").save(tmp_path / "saved.safetensors")
    assert run("summary", "saved.safetensors").stdout == by_name
    assert json.loads(run("summary", "budget_model3", "--json").stdout)["parameters"] == 4506


@pytest.mark.usefixtures("offline")
def test_train_without_mnist_uses_digits_and_prints_a_message(run: Any, tmp_path: Path) -> None:
    done = run("train", "budget_model3", "--images", "600", "--epochs", "1", "--plot", "curves.png")
    assert done.returncode == 0, done.stderr
    assert any("MNIST" in line and "digits" in line for line in done.stderr.splitlines())
    assert "test set of digits: accuracy" in done.stdout
    assert (tmp_path / "curves.png").stat().st_size > 5000
    again = run("test", "budget_model3.safetensors", "--data", "digits", "--json")
    scores = json.loads(again.stdout)
    assert f"accuracy {100 * scores['accuracy']:.2f} %" in done.stdout
    assert sum(map(sum, scores["confusion"])) == scores["count"] == 10_000


def test_train_prints_one_json_document(run: Any) -> None:
    done = run(
        "train", "budget_model3", "--data", "digits", "--images", "600", "--epochs", "2", "--json", "--seed", "4"
    )
    report = json.loads(done.stdout)
    assert [record["epoch"] for record in report["epochs"]] == [1, 2]
    assert report["seed"] == 4
    assert all("validation_accuracy" not in record for record in report["epochs"])
    assert report["epochs"][-1]["test_accuracy"] == pytest.approx(report["test"]["accuracy"])
    assert report["test"]["count"] == 10_000


@pytest.mark.parametrize(("averaging", "count"), [(None, 2), (mnistcnn.optim.SWA(start_epoch=1), 3)])
def test_train_tests_the_final_weights_once(
    run: Any, averaging: Any, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnistcnn.Recipe(epochs=2, averaging=averaging, seed=3).to_json("recipe.json")
    tested = []

    def counting(*arguments: Any, **options: Any) -> mnistcnn.TestResult:
        tested.append(arguments)
        return evaluate.test(*arguments, **options)

    with monkeypatch.context() as patched:
        for module in (mnistcnn, epoch_tests):
            patched.setattr(module, "test", counting)
        arguments = ("--recipe", "recipe.json", "--data", "digits", "--images", "600", "--json")
        report = json.loads(run("train", "budget_model3", *arguments).stdout)
    assert len(tested) == count
    assert report["seed"] == report["recipe"]["seed"] == 3
    again = json.loads(run("test", "budget_model3.safetensors", "--data", "digits", "--json").stdout)
    assert report["test"] == {name: again[name] for name in report["test"]}


def test_validation_results_in_json_are_those_of_the_validation_set(run: Any) -> None:
    arguments = ("--data", "digits", "--images", "600", "--epochs", "1", "--validation", "0.2", "--json")
    (record,) = json.loads(run("train", "budget_model3", *arguments).stdout)["epochs"]
    assert record["validation_accuracy"] * 120 == pytest.approx(round(record["validation_accuracy"] * 120))
    assert "test_accuracy" not in record


def test_options_describe_a_recipe_without_a_json_file(run: Any) -> None:
    arguments = ("--data", "digits", "--images", "300", "--epochs", "1", "--optimizer", "adam", "--lr", "0.01")
    steps = ("--augment", "rotation:10", "--augment", "randomcrop:28,padding=2", "--schedule", "step:6,gamma=0.5")
    done = run("train", "budget_model3", *arguments, *steps, "--json")
    assert done.returncode == 0, done.stderr
    recipe = mnistcnn.Recipe.from_dict(json.loads(done.stdout)["recipe"])
    assert recipe.optimizer == mnistcnn.optim.Adam(lr=0.01)
    assert recipe.augment == (mnistcnn.transforms.Rotation(10), mnistcnn.transforms.RandomCrop(28, padding=2))
    assert recipe.schedule == mnistcnn.optim.StepLR(6, 0.5)
    published = run("train", "session7_net", "--recipe", "rotation_step", *arguments, "--augment", "none", "--json")
    assert json.loads(published.stdout)["recipe"]["augment"] == []


def test_train_saves_the_best_epoch(run: Any, tmp_path: Path) -> None:
    """The last epochs have a learning rate that destroys the weights, so that an earlier epoch is the best."""
    arguments = ("train", "budget_model3", "--data", "digits", "--images", "1000", "--epochs", "4", "--lr", "0.05")
    schedule = ("--schedule", "step:2,gamma=1000", "--optimizer", "sgd:clip_norm=1", "--checkpoint", "run")
    done = run(*arguments, *schedule, "--validation", "0.2", "--save-best", "best.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    accuracies = [record["validation_accuracy"] for record in report["epochs"]]
    assert report["best"] == {"epoch": 1 + accuracies.index(max(accuracies)), "file": "best.safetensors"}
    assert report["best"]["epoch"] < 4
    saved = load_file(tmp_path / "best.safetensors")
    kept = mnistcnn.Checkpoint(str(tmp_path / "run")).load("best").state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in kept.items())
    check_error(run(*arguments, "--save-best", "other.safetensors"), 2, "'--save-best': it requires a validation set")


def check_error(done: Any, code: int, message: str) -> None:
    """Check exit code and message, that stdout is empty and that there is no traceback."""
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("summary", "nothing.safetensors"), "nothing.safetensors"),
        (("test", "nothing.safetensors"), "nothing.safetensors"),
        (("train", "--data", "digits", "--recipe", "none.json"), "none.json"),
        (("predict", "one.png"), "one.png"),
        (("predict", "one.png", "--model", "nothing.safetensors"), "nothing.safetensors"),
        (("experiments",), "experiment log experiments.jsonl does not exist; `mnistcnn trials` writes one"),
    ],
)
def test_error_prints_message_with_exit_code_1(run: Any, arguments: tuple[str, ...], message: str) -> None:
    check_error(run(*arguments), 1, message)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, digits: Any) -> Path:
    """Return the file of a model with a good accuracy on the digits."""
    model = mnistcnn.create_model("budget_model1", seed=1)
    mnistcnn.train(
        model, digits[0][:4000], epochs=3, optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9), progress=False
    )
    return model.save(tmp_path_factory.mktemp("reader") / "reader.safetensors")


def test_predict_classifies_image_files(run: Any, reader: Path, tmp_path: Path, digits: Any) -> None:
    model, data = mnistcnn.load_model(reader), digits[1][:8]
    for index, image in enumerate(data.images):
        large = Image.fromarray(255 - image[0]).resize((150, 150), Image.Resampling.BICUBIC)
        large.convert("RGB" if index % 2 else "L").save(tmp_path / f"{index}.{'jpg' if index % 2 else 'png'}")
    names = sorted(path.name for path in tmp_path.glob("[0-9].*"))
    done = run("predict", *names, "--model", str(reader), "--json", "--save", "seen.png")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    wanted = mnistcnn.predict(model, mnistcnn.as_digits(tmp_path / name for name in names))
    assert [row["file"] for row in report] == names
    assert [row["prediction"] for row in report] == wanted.argmax(1).tolist()
    np.testing.assert_allclose([row["probabilities"] for row in report], wanted, atol=1e-5)
    assert sum(row["prediction"] == label for row, label in zip(report, data.labels, strict=True)) >= 6
    assert _width(tmp_path / "seen.png") > 200
    table = run("predict", names[0], "--model", str(reader)).stdout
    assert "probabilities" not in table
    assert names[0] in table
    assert "in %" in table
    assert "Columns 0 to 9" in table
    assert max(map(len, table.splitlines())) <= 80


def test_test_warns_about_outputs_that_are_not_finite(run: Any, tmp_path: Path) -> None:
    model = mnistcnn.create_model("budget_model1")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    model.save(tmp_path / "broken.safetensors")
    done = run("test", "broken.safetensors", "--data", "digits")
    assert "10,000 of 10,000 images" in done.stderr
    assert "NaN or infinite" in done.stderr
    assert "invalid value" not in done.stderr
    assert "nan %" not in done.stdout


def test_predict_skips_unreadable_files(run: Any, reader: Path, tmp_path: Path) -> None:
    sheet = np.zeros((60, 60), np.uint8)
    sheet[10:50, 28:34] = 255
    Image.fromarray(sheet).save(tmp_path / "one.png")
    (tmp_path / "text.png").write_text("not an image")
    done = run("predict", "text.png", "one.png", "none.png", "--model", str(reader), "--json")
    assert done.returncode == 1
    assert [row["file"] for row in json.loads(done.stdout)] == ["one.png"]
    assert "text.png" in done.stderr
    assert "none.png" in done.stderr
    assert "Traceback" not in done.stderr


def test_show_as_text_plot_and_json(run: Any, tmp_path: Path, digits: Any) -> None:
    lines = run("show", "digits", "--label", "3", "--count", "2").stdout.splitlines()
    assert lines[0].split() == ["3", "3"]
    image = digits[1][digits[1].labels == 3].images[0, 0].astype(float)
    dark = (image[0::2] + image[1::2]) / 2 < 255 / 9
    assert [[character == " " for character in line.ljust(28)[:28]] for line in lines[1:15]] == dark.tolist()
    assert run("show", "digits", "--part", "train", "--save", "gallery.png").returncode == 0
    assert _width(tmp_path / "gallery.png") > 400
    report = json.loads(run("show", "digits", "--json").stdout)
    assert (report["images"], sum(report["classes"].values())) == (10_000, 10_000)


def test_bench_reports_seconds_per_epoch(run: Any) -> None:
    (report,) = json.loads(run("bench", "budget_model3", "--repeats", "1", "--json").stdout)
    assert report["network"] == "budget_model3"
    seconds = report["seconds"]
    torch_modes = ["torch", "torch channels_last", "torch bf16", "torch channels_last bf16"]
    assert list(seconds) == ["lanes", "aten", *torch_modes]
    assert seconds["lanes"] > 0
    assert report["fastest_torch"] == min(torch_modes, key=seconds.get)
    assert report["torch_per_lanes"] == pytest.approx(seconds[report["fastest_torch"]] / seconds["lanes"])


def test_trials_are_added_to_the_experiment_log(run: Any, tmp_path: Path) -> None:
    arguments = ("--data", "digits", "--images", "600", "--epochs", "1", "--seeds", "2", "--lr", "0.05")
    done = run("trials", "budget_model3", *arguments, "--target", "50", "--plot", "trials.png", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [trial["seed"] for trial in report["trials"]] == [0, 1]
    assert "trials added to experiments.jsonl; to list them: mnistcnn experiments" in done.stderr
    assert (tmp_path / "trials.png").stat().st_size > 2000
    (row,) = json.loads(run("experiments", "--json").stdout)
    assert row["model"] == "budget_model3"
    assert "budget_model3" in run("experiments").stdout


def test_every_data_set_can_be_chosen() -> None:
    assert {each.value for each in Data} == {"auto", *DATASETS}


def test_shards_of_trials_are_merged(run: Any, tmp_path: Path) -> None:
    arguments = ("--data", "digits", "--images", "600", "--epochs", "1", "--seeds", "5", "--lr", "0.05")
    whole = json.loads(run("trials", "budget_model3", *arguments, "--json").stdout)["trials"]
    for shard in ("1/3", "3/3"):
        done = run("trials", "budget_model3", *arguments, "--shard", shard)
        assert done.returncode == 0, done.stderr
        assert f"trials added to runs/budget_model3-shard-{shard[0]}-of-3.jsonl" in done.stderr
    shown = run("experiments", "runs/*.jsonl").stdout
    assert shown.startswith("1 experiment in 2 logs\n")
    assert "experiment 0, budget_model3: 2 of 5 seeds missing: 1, 4\n" in shown
    run("trials", "budget_model3", *arguments, "--shard", "2/3")
    (row,) = json.loads(run("experiments", "runs/*.jsonl", "--json").stdout)
    assert (row["trials"], row["missing"]) == (5, [])
    assert row["mean"] == pytest.approx(sum(trial["accuracy"] for trial in whole) / 5)
    twice = run("experiments", "runs/*.jsonl", "experiments.jsonl")
    assert twice.returncode == 1
    assert "both contain seed " in twice.stderr


def test_emnist_letters_are_trained_and_tested_with_their_names(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "emnist"
    folder.mkdir(parents=True)
    for name, content in emnist_contents("emnist-letters").items():
        (folder / name).write_bytes(content)
    done = run("train", "budget_model3", "--data", "emnist-letters", "--epochs", "1", "--batch-size", "26")
    assert done.returncode == 0, done.stderr
    tested = run("test", "budget_model3.safetensors", "--data", "emnist-letters", "--plot", "letters.png")
    assert tested.returncode == 0, tested.stderr
    lines = [line.split() for line in tested.stdout.splitlines()]
    assert [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"] in lines  # the columns of the confusion matrix
    assert (tmp_path / "letters.png").stat().st_size > 2000
    Image.fromarray(glyph("A")).resize((100, 100)).save("letter.png")
    (row,) = json.loads(run("predict", "letter.png", "--model", "budget_model3.safetensors", "--json").stdout)
    assert row["class"] == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[row["prediction"]]
    table = run("predict", "letter.png", "--model", "budget_model3.safetensors").stdout
    assert f"{row['class']} {100 * max(row['probabilities']):.1f}, " in table
    shown = run("show", "emnist-letters", "--count", "2")
    assert shown.stdout.splitlines()[0].split() == ["A", "B"]
    studied = run("trials", "budget_model3", "--data", "emnist-letters", "--epochs", "1", "--seeds", "1", "--json")
    assert json.loads(studied.stdout)["setting"]["train_set"]["name"] == "emnist-letters"


def test_train_uses_the_best_recipe_of_a_sweep(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    arguments = ("--data", "digits", "--images", "600", "--epochs", "1", "--trials", "2", "--json")
    arguments += ("--optimizer", "sgd", "--momentum", "0.8")
    vary = ("--vary", "optimizer.lr=0.01..0.1:log", "--vary", "batch_size=64,128")
    done = run("sweep", "budget_model3", *vary, *arguments, "--save", "best.json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    best = mnistcnn.Recipe.from_json(tmp_path / "best.json")
    assert best.to_dict() == mnistcnn.Recipe.from_dict(report["best_recipe"]).to_dict()
    assert 0.01 <= best.optimizer.lr <= 0.1
    assert best.optimizer.momentum == 0.8
    assert best.batch_size in (64, 128)
    done = run("train", "budget_model3", "--data", "digits", "--images", "600", "--recipe", "best.json", "--json")
    assert json.loads(done.stdout)["recipe"]["batch_size"] == best.batch_size


def test_options_override_fields_of_a_published_recipe(run: Any) -> None:
    arguments = ("--data", "digits", "--images", "600", "--epochs", "1", "--lr", "0.02", "--json")
    done = run("train", "budget_model3", "--recipe", "published", *arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["recipe"]
    published = mnistcnn.recipe("budget_model3")
    assert report["optimizer"]["kind"] == type(published.optimizer).__name__
    assert (report["optimizer"]["lr"], report["epochs"]) == (0.02, 1)
    assert report["batch_size"] == published.batch_size


def export(run: Any, model: Path, file_format: str, output: str) -> None:
    done = run("export", str(model), "--format", file_format, "-o", output, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {file_format: output}


def test_exported_onnx_file_loads_in_onnxruntime(run: Any, reader: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    export(run, reader, "onnx", "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.get_outputs()[0].shape[-1] == 10


def test_exported_weights_load_in_pytorch(run: Any, reader: Path, tmp_path: Path) -> None:
    export(run, reader, "safetensors", "weights.safetensors")
    export(run, reader, "torch", "weights.pt")
    model = mnistcnn.load_model(reader)
    found = load_file(tmp_path / "weights.safetensors"), torch.load(tmp_path / "weights.pt", weights_only=True)
    for weights in found:
        assert set(weights) == set(model.to_torch().state_dict())
        assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def test_exported_weights_of_a_layer_that_is_used_twice(run: Any, tmp_path: Path) -> None:
    layer = torch.nn.Linear(784, 784)
    module = torch.nn.Sequential(torch.nn.Flatten(), layer, torch.nn.ReLU(), layer, torch.nn.Linear(784, 10))
    mnistcnn.from_torch(module).save(tmp_path / "twice.safetensors")
    export(run, tmp_path / "twice.safetensors", "safetensors", "weights.safetensors")
    weights = load_file(tmp_path / "weights.safetensors")
    assert any(torch.equal(tensor, layer.weight) for tensor in weights.values())


def test_exported_header_has_the_name_of_the_model(run: Any, reader: Path, tmp_path: Path) -> None:
    copy = tmp_path / "digit.safetensors"
    copy.write_bytes(reader.read_bytes())
    done = run("export", str(copy), "--format", "c")
    assert done.returncode == 0, done.stderr
    assert f"written to {tmp_path / 'digit.h'}" in done.stdout
    assert "void digit_predict(" in (tmp_path / "digit.h").read_text()


def test_exported_page_is_smaller_than_200_kb(run: Any, reader: Path, tmp_path: Path) -> None:
    export(run, reader, "html", "digit.html")
    assert "<canvas" in (tmp_path / "digit.html").read_text()
    assert (tmp_path / "digit.html").stat().st_size < 200_000


def test_export_rejects_wrong_formats_and_files(run: Any, reader: Path, tmp_path: Path) -> None:
    assert run("export", str(reader)).returncode == 2
    assert run("export", str(reader), "--format", "pickle").returncode == 2
    done = run("export", str(reader), "--format", "safetensors")
    assert done.returncode == 2
    assert "would replace the model" in " ".join(done.stderr.split())
    done = run("export", str(reader), "--format", "c", "-o", "model.onnx")
    assert done.returncode == 2
    assert "'--output': it must name a .h file, got model.onnx" in done.stderr


def test_export_replaces_a_file_with_overwrite_only(run: Any, reader: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"other")
    arguments = ("export", str(reader), "--format", "torch", "-o", "weights.pt")
    check_error(run(*arguments), 2, "'--output': weights.pt already exists; pass --overwrite to replace it")
    assert path.read_bytes() == b"other"
    assert run(*arguments, "--overwrite").returncode == 0
    assert torch.load(path, weights_only=True)


def test_profile_prints_json(run: Any) -> None:
    report = json.loads(run("profile", "budget_model3", "--seconds", "0.05", "--json").stdout)
    assert report["rows"]


def test_lr_find_prints_suggestion_plot_and_json(run: Any, tmp_path: Path) -> None:
    arguments = ("lr-find", "budget_model3", "--data", "digits", "--images", "3000")
    done = run(*arguments, "--plot", "found.png")
    assert done.returncode == 0, done.stderr
    assert "try: mnistcnn train budget_model3 --data digits --images 3000 --lr 0." in done.stdout
    assert _width(tmp_path / "found.png") > 300
    report = json.loads(run(*arguments, "--steps", "60", "--start", "1e-4", "--json").stdout)
    assert report["data"] == "digits"
    assert 1e-4 < report["suggestion"] < 10
    assert report["learning_rates"][0] == pytest.approx(1e-4)
    assert len(report["learning_rates"]) == len(report["losses"]) == len(report["smoothed"]) <= 60
    assert "'--plot': it must name" in run("lr-find", "--plot", "found.txt").stderr


def test_train_resumes_from_a_checkpoint(run: Any, tmp_path: Path) -> None:
    arguments = ("train", "budget_model3", "--data", "digits", "--images", "600", "--json")
    whole = json.loads(run(*arguments, "--epochs", "2", "--save", "whole.safetensors").stdout)
    assert run(*arguments, "--epochs", "1", "--checkpoint", "run").returncode == 0
    done = run(*arguments, "--epochs", "2", "--checkpoint", "run", "--resume")
    assert done.returncode == 0, done.stderr
    assert "epoch 1:" not in done.stderr
    resumed = json.loads(done.stdout)
    assert resumed["test"] == whole["test"]
    assert [epoch["test_loss"] for epoch in resumed["epochs"]] == [epoch["test_loss"] for epoch in whole["epochs"]]
    ended, resumed = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "budget_model3-2"))
    assert all(torch.equal(ended[name], tensor) for name, tensor in resumed.items())
    assert run(*arguments, "--epochs", "2", "--checkpoint", "run").returncode == 1, "must not overwrite another run"
    assert "--checkpoint DIR" in run("train", "--resume").stderr


def test_train_does_not_replace_an_existing_model(run: Any, tmp_path: Path) -> None:
    first = tmp_path / "budget_model3.safetensors"
    mnistcnn.create_model("budget_model3", seed=7).save(first)
    before = first.read_bytes()
    arguments = ("train", "budget_model3", "--data", "digits", "--images", "300", "--epochs", "1")
    for number in (2, 3):
        stdout = run(*arguments).stdout
        assert f"model saved to budget_model3-{number}.safetensors" in stdout
        assert "budget_model3.safetensors already exists" in stdout
    assert json.loads(run(*arguments, "--json").stdout)["file"] == "budget_model3-4.safetensors"
    check_error(run(*arguments, "--save", first.name), 2, f"'--save': {first.name} already exists; pass --overwrite")
    assert first.read_bytes() == before
    assert run(*arguments, "--save", first.name, "--overwrite").returncode == 0
    replaced, numbered = load_file(first), load_file(tmp_path / "budget_model3-2.safetensors")
    assert all(torch.equal(numbered[name], tensor) for name, tensor in replaced.items())


def test_model_is_saved_if_its_test_is_interrupted(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mnistcnn, "test", interrupted)
    arguments = ("--data", "digits", "--images", "300", "--epochs", "1", "--validation", "0.2")
    assert run("train", "budget_model3", *arguments).returncode == 130
    assert [file.name for file in tmp_path.iterdir()] == ["budget_model3.safetensors"]


def test_resumed_run_saves_the_best_epoch_of_the_whole_run(run: Any, tmp_path: Path) -> None:
    arguments = ("train", "budget_model3", "--data", "digits", "--images", "500", "--validation", "0.2", "--resume")
    rates = ("--lr", "0.05", "--optimizer", "sgd:clip_norm=1", "--schedule", "step:2,gamma=1000")
    best = ("--save-best", "best.safetensors", "--overwrite")
    assert run(*arguments, *rates, *best, "--checkpoint", "with", "--epochs", "2").returncode == 0
    first = load_file(tmp_path / "best.safetensors")
    resumed = run(*arguments, *rates, *best, "--checkpoint", "with", "--epochs", "4", "--json")
    assert json.loads(resumed.stdout)["best"]["epoch"] <= 2
    assert all(torch.equal(first[name], tensor) for name, tensor in load_file(tmp_path / "best.safetensors").items())
    assert run(*arguments, *rates, "--checkpoint", "without", "--epochs", "1").returncode == 0
    done = run(*arguments, *rates, *best, "--checkpoint", "without", "--epochs", "2")
    check_error(done, 2, "'--save-best': the run was started without this option")


def test_best_checkpoint_is_not_selected_by_test_accuracy(run: Any, tmp_path: Path) -> None:
    """With this learning rate the accuracy hardly changes, so the first epoch would be the best one."""
    arguments = ("train", "budget_model3", "--data", "digits", "--images", "200", "--lr", "1e-9", "--epochs", "4")
    for folder, more, kept in (("plain", (), [3, 4]), ("held_out", ("--validation", "0.2"), [1, 3, 4])):
        done = run(*arguments, "--checkpoint", folder, *more)
        assert done.returncode == 0, done.stderr
        assert mnistcnn.Checkpoint(str(tmp_path / folder)).epochs == kept
    assert mnistcnn.Checkpoint(str(tmp_path / "held_out")).history.last.validation_accuracy is not None
    assert mnistcnn.Checkpoint(str(tmp_path / "plain")).history.last.validation_accuracy is None
    with pytest.raises(ValueError, match="requires a validation set"):
        mnistcnn.Checkpoint(str(tmp_path / "plain")).load("best")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_train_saves_the_model(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "mnistcnn", "train", "budget_model3", "--data", "digits", "--epochs", "500"]
    good = tmp_path / "budget_model3.safetensors"
    mnistcnn.create_model("budget_model3", seed=7).save(good)
    before = good.read_bytes()
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("epoch 1:"):
                running.send_signal(sent)
                break
        stdout, stderr = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == code
    assert "model saved to budget_model3-interrupted.safetensors" in stderr
    assert good.read_bytes() == before
    assert "Traceback" not in stderr
    assert stdout == ""
    saved = mnistcnn.load_model(tmp_path / "budget_model3-interrupted.safetensors")
    fresh = mnistcnn.create_model("budget_model3", seed=0)
    assert not np.array_equal(next(saved.parameters()).detach(), next(fresh.parameters()).detach())


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_trials_print_a_message(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    arguments = ("trials", "budget_model3", "--data", "digits", "--epochs", "500", "--seeds", "2")
    running = subprocess.Popen(
        [sys.executable, "-m", "mnistcnn", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        assert running.stderr is not None
        first = running.stderr.readline()
        running.send_signal(sent)
        _, stderr = running.communicate(timeout=60)
    finally:
        running.kill()
    assert "2 x 500 epochs" in first
    assert running.returncode == code
    assert "interrupted" in stderr
    assert "Traceback" not in stderr


def test_interrupt_that_python_ignored_is_repeated() -> None:
    code = """
import signal, time, weakref
from mnistcnn.cli import interruption
interruption.handle_signals()
class Referent: pass
referent = Referent()
reference = weakref.ref(referent, lambda _: signal.raise_signal(signal.SIGINT))
del referent  # Python ignores exceptions of the callback
try:
    time.sleep(20)
    print("ignored")
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_exit_code_of_an_interrupt_that_stopped_source_text() -> None:
    """Python itself would exit as killed by SIGINT."""
    code = """
import signal
from mnistcnn.cli import interruption
interruption.handle_signals()
try:
    exec("signal.raise_signal(signal.SIGTERM)")
except KeyboardInterrupt:
    interruption.exit_process(interruption.exit_code())
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 143


def test_tables_are_not_truncated(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line wraps in a narrow terminal."""
    from mnistcnn.cli.output import print_table

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_table(["class", *"0123456789"], [["zero", *["1234"] * 10]], left=1)
    assert capsys.readouterr().out.count("1234") == 10


def test_tables_of_test_fit_80_columns(run: Any, reader: Path) -> None:
    done = run("test", str(reader), "--data", "digits")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80  # the first line has the name of the model
    assert "rows: true class, columns: predicted class" in done.stdout


def test_train_prints_the_accuracy_before_writing_fails(run: Any, tmp_path: Path) -> None:
    """A limit on file sizes simulates a full disk."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); sys.argv[0] = 'mnistcnn'; "
        "from mnistcnn.cli.main import main; main()"
    )
    arguments = ("train", "budget_model3", "--data", "digits", "--images", "300", "--epochs", "1")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "test set of digits: accuracy" in done.stdout
    assert "budget_model3.safetensors" in done.stderr
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_does_not_truncate_descriptions_of_commands(run: Any) -> None:
    commands = run("--help").stdout.split("Commands:")[1]
    assert "..." not in commands


def test_help_takes_less_than_300_ms() -> None:
    """Measures CPU time, which does not depend on the load of the machine, relative to the start of Python."""
    empty = min(_seconds("-c", "pass") for _ in range(5))
    helped = min(_seconds("-m", "mnistcnn", "--help") for _ in range(5))
    assert helped - empty < 0.3, f"--help takes {helped:.3f} s, Python alone {empty:.3f} s"


def _width(path: Path) -> int:
    with Image.open(path) as image:
        return image.width


def _seconds(*arguments: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_commands_and_options_have_help() -> None:
    from typer.main import get_command

    from mnistcnn.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert {"models", "summary", "train", "trials", "test", "predict", "show", "sweep", "experiments"} <= set(commands)
    tables = set(commands) - {"demo", "new", "report"}  # these print no table
    for name, command in commands.items():
        assert command.help, name
        assert all(parameter.help for parameter in command.params if parameter.name != "help"), name
        assert name not in tables or any("--json" in parameter.opts for parameter in command.params), name


def test_version_option(run: Any) -> None:
    assert run("--version").stdout == f"mnistcnn {mnistcnn.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "session8_net", "--data", "digits"), "did you mean 'session7_net'?"),
        (("summary", "session8_net"), "did you mean 'session7_net'?"),
        (("trials", "session8_net"), "did you mean 'session7_net'?"),
        (("train", "nosuch"), "there is no model 'nosuch'. Choose from:"),
        (("train", "nosuch"), "to list them: mnistcnn models"),
        (("summary", "nosuch"), "to list them: mnistcnn models"),
        (("train", "--engine", "gpu"), "'--engine': it must be one of 'auto', 'lanes', 'aten', got 'gpu'"),
        (("train", "--recipe", "rotation_stp"), "did you mean 'rotation_step'? Choose from: published, rotation,"),
        (("models", "nothing*"), "no model matches 'nothing*'"),
        (("bench", "nothing*"), "no model matches 'nothing*'"),
        (("show", "digits", "--label", "12"), "--label must be from 0 to 9 for digits, got 12"),
        (("show", "digits", "--first", "10000"), "--first must be below 10000"),
        (("train", "--epochs", "-3"), "-3"),
        (("train", "--data", "mnis"), "'--data': 'mnis' is not one of 'auto', 'mnist', 'fashion_mnist'"),
        (("train", "--threads", "many"), "'many'"),
        (("trials", "--seeds", "1,2"), "'1,2'"),
        (("train", "--optimizer", "adm"), "'--optimizer': adm: unknown name; did you mean 'adam'?"),
        (("train", "--optimizer", "adam", "--momentum", "0.9"), "--momentum is not supported by"),
        (("train", "--schedule", "cosine"), "'--schedule': cosine: unknown name; did you mean 'cosineannealing'?"),
        (("train", "--schedule", "lambda"), "'--schedule': lambda: LambdaLR is available in Python only"),
        (("train", "--augment", "randomapply"), "'--augment': randomapply: RandomApply is available in Python only"),
        (("train", "--augment", "rotation:abc"), "degrees must be a number, or a range (smallest, largest), got 'abc'"),
        (("train", "model.py:Net"), "model.py:Net is not a published network; train your own class in Python with"),
        (("trials", "mine.safetensors"), "mnistcnn.train(mnistcnn.load_model('mine.safetensors'), train_set)"),
        (("trials", "--target", "0.994"), "'--target': it must be a percentage such as 99.4, got 0.994; for 99.4 %"),
        (("check", "compact_net", "--target", "0.994"), "'--target': it must be a percentage such as 99.4, got 0.994"),
        (("trials", "--schedule", "step"), "'--schedule': step: step_size must be given: step:STEP_SIZE"),
        (("sweep", "--vary", "epochs=1,2", "--augment", "rotation:1:2"), "'--augment': rotation:1:2: the arguments"),
        (("train", "--augment", "rotation:7", "--augment", "none"), "'--augment': none cannot be combined"),
        (("lr-find", "--augment", "rotation:__import__('os')"), "the arguments must be written as in"),
        (("train", "--save", "x", "--save-best", "./x", "--validation", "0.1"), "'--save-best': it must differ"),
        (("train", "--lr", "-1"), "--lr must be a finite number of at least 0, got -1.0"),
        (("lr-find", "--start", "1", "--end", "0.1", "--data", "digits"), "--start must be below end, got --start 1"),
        (("show", "digits", "--json", "--save", "x.png"), "'--save': it cannot be combined with --json"),
        (("show", "digits", "--json", "--label", "3"), "'--label': it cannot be combined with --json"),
        (("trials", "--shard", "3"), "'--shard': it must be K/N with K from 1 to N, such as 3/10, got '3'"),
        (("trials", "--shard", "0/3"), "'--shard': it must be K/N with K from 1 to N, such as 3/10, got '0/3'"),
        (("trials", "--shard", "4/3"), "'--shard': it must be K/N with K from 1 to N, such as 3/10, got '4/3'"),
        (("trials", "--seeds", "2", "--shard", "3/4"), "'--shard': shard 3 of 4 has no seeds: there are only 2"),
        (("trials", "--log", "no/log.jsonl"), "'--log': the directory"),
        (("sweep", "--vary", "lerning_rate=1,2"), "'--vary': lerning_rate=1,2: a Recipe has no field"),
        (("sweep", "--vary", "epochs=5..1"), "'--vary': epochs=5..1: a range must be FIELD=LOW..HIGH"),
        (("sweep", "--vary", "epochs=0,1"), "'--vary': epochs=0,1: epochs must be"),
        (("train", "--save", "no/folder/here"), "'--save': the directory"),
        (("train", "--save", "."), "'--save': . is a directory"),
        (("train", "--save", "/dev/null"), "'--save': /dev/null is a device"),
        (("train", "--save", "net.pt"), "'--save': it must name a .safetensors file, got net.pt; mnistcnn export"),
        (
            ("train", "--validation", "0.1", "--save-best", "net.onnx"),
            "'--save-best': it must name a .safetensors file",
        ),
        (("train", "--plot", "curves.xyz"), "'--plot': it must name a .png, .svg or .pdf file, got curves.xyz"),
        (("train", "--validation", "1"), "'--validation': it must be at least 0 and below 1, got 1"),
        (
            ("train", "budget_model3", "--recipe", "published", "--validation", "0"),
            "'--validation': it must be above 0, got 0: the schedule ReduceLROnPlateau monitors the validation set",
        ),
        (("sweep", "--vary", "epochs=1,2", "--validation", "2"), "it must be at least 0 and below 1, got 2"),
    ],
)
def test_invalid_option_value_has_exit_code_2(run: Any, arguments: tuple[str, ...], message: str) -> None:
    check_error(run(*arguments), 2, message)


def test_errors_name_options_instead_of_arguments(run: Any, tmp_path: Path) -> None:
    arguments = ("train", "budget_model3", "--data", "digits", "--images", "200", "--epochs", "1", "--checkpoint")
    assert run(*arguments, "run").returncode == 0
    check_error(run(*arguments, "run"), 1, "pass --resume to resume it")
    (tmp_path / "file").touch()
    check_error(run(*arguments, "file"), 1, "mnistcnn: --checkpoint file is a file")


def test_a_log_of_trials_is_checked_before_the_data_is_loaded(run: Any) -> None:
    done = run("trials", "budget_model3", "--data", "digits", "--log", __file__)
    check_error(done, 1, "test_cli.py is not an experiment log; pass another path as --log")
    assert "epochs on" not in done.stderr


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "pass resume=True, or another path as log=, to continue",
            "pass --resume, or another path as --log, to continue",
        ),
        ("batch_size must be at least 1, got 0", "--batch-size must be at least 1, got 0"),
        ("lr is unrelated: a batch_size=3; log_all=1", "--lr is unrelated: a --batch-size 3; log_all=1"),
        ("optimizer.lr=1 and SGD(lr=1, betas=(2, 3), log=4)", "optimizer.lr=1 and SGD(lr=1, betas=(2, 3), log=4)"),
    ],
)
def test_messages_with_names_of_options(text: str, wanted: str) -> None:
    assert in_options(text, ["--resume", "--log", "--batch-size", "--lr"]) == wanted


def test_experiments_of_another_file_has_exit_code_1(run: Any, tmp_path: Path) -> None:
    (tmp_path / "four.png").write_bytes(bytes(range(128, 256)) + b"\n" + bytes(range(255, 127, -1)))
    done = run("experiments", "four.png")
    check_error(done, 1, "four.png is not an experiment log")
    assert len(done.stderr.splitlines()) == 1


def test_closed_pipe_has_exit_code_141(tmp_path: Path) -> None:
    for arguments in (("models",), ("models", "--json")):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "mnistcnn", *arguments]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, "")


def test_invalid_command_has_exit_code_2(run: Any) -> None:
    assert run("trian").returncode == 2
    assert run("train", "--epochs", "0").returncode == 2
    assert run("predict").returncode == 2
    assert run("sweep", "--vary", "batch_size").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("trials", "budget_model3", "--log", "t.png", "--plot", "t.png"),
        ("sweep", "budget_model3", "--vary", "batch_size=16,32", "--storage", "s.json", "--save", "s.json"),
    ],
)
def test_two_outputs_must_not_name_the_same_file(run: Any, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--data", "digits", "--images", "60", "--epochs", "1")
    check_error(done, 2, f"it names the file of {arguments[-4]}")


@pytest.mark.parametrize("error", [OSError("no space left"), mnistcnn.DivergedError("the loss is NaN")])
def test_models_of_a_run_that_fails_are_saved(run: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    original = BestEpoch.on_epoch

    def fails(self: BestEpoch, record: mnistcnn.callbacks.EpochRecord) -> None:
        original(self, record)
        if record.epoch == 2:
            raise error

    monkeypatch.setattr(BestEpoch, "on_epoch", fails)
    options = ("--data", "digits", "--images", "300", "--epochs", "3", "--validation", "0.3")
    done = run("train", "budget_model3", *options, "--save-best", "best.safetensors")
    assert done.returncode == 1
    assert str(error) in done.stderr
    assert "best-interrupted.safetensors" in done.stderr
    assert mnistcnn.load_model("best-interrupted.safetensors").name == "budget_model3"
    # After divergence the last weights are not finite.
    assert Path("budget_model3-interrupted.safetensors").exists() == isinstance(error, OSError)
