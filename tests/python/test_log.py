"""Experiment log: atomic appends by concurrent writers, the table of experiments, and skipped invalid lines."""

from __future__ import annotations

import dataclasses
import fcntl
import gzip
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import mnistcnn
from mnistcnn.study.log import append, check_log, read
from mnistcnn.training.history import EpochRecord, History
from studies import made_setting, made_trial


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of two experiments: session7_net with three seeds, and other with two, one of them diverged."""
    path = tmp_path / "log.jsonl"
    for seed, accuracy in enumerate((0.9938, 0.994, 0.993)):
        append(path, made_setting(), made_trial(seed, accuracy))
    for seed, accuracy in enumerate((0.98, None)):
        append(path, made_setting("other"), made_trial(seed, accuracy))
    return path


def test_table(log: Path):
    table = mnistcnn.experiments(log)
    assert [trials.setting.model for trials in table] == ["session7_net", "other"]
    first, second = table.to_dicts()
    assert (first["model"], first["parameters"], first["receptive_field"], first["epochs"]) == (
        "session7_net",
        7596,
        32,
        2,
    )
    assert first["mean"] == pytest.approx(0.9936)
    assert first["sd"] == pytest.approx(0.000529150, rel=1e-5)
    assert first["gap"] == pytest.approx(0.992 - 0.9936)
    assert (second["trials"], second["diverged"], second["sd"]) == (2, 1, None)
    lines = repr(table).splitlines()
    assert (first["images"], first["digest"]) == (60_000, made_setting().data_digest)
    assert lines[0] == f"2 experiments in {log}"
    assert lines[1].split()[2:5] == ["data", "images", "digest"]
    assert f"mnist  60,000  {first['digest']}" in lines[2]
    assert "99.36 ± 0.05 %" in lines[2]
    assert "2 (1 diverged)" in lines[3]
    assert table._repr_html_().count("<tr>") == 3


def test_table_converts_to_dataframe_json_and_trials(log: Path, tmp_path: Path):
    pytest.importorskip("pandas")
    table = mnistcnn.experiments(log)
    frame = table.to_dataframe()
    assert frame["minimum"].tolist() == [0.993, 0.98]
    assert frame["images"].tolist() == [60_000, 60_000]
    assert frame["digest"].nunique() == 1
    assert json.loads(table.to_json(tmp_path / "table.json"))[0]["maximum"] == 0.994
    assert table[0].accuracies == (0.9938, 0.994, 0.993)  # a row is a Trials object
    assert len(table) == 2


def test_table_has_best_and_last_validation_accuracy(tmp_path: Path):
    records = [
        EpochRecord(1, 0.4, 0.90, 0.2, 0.97, 0.01, 1.0),
        EpochRecord(2, 0.1, 0.99, 0.3, 0.95, 0.01, 1.0),
    ]
    trial = dataclasses.replace(made_trial(0, 0.96), history=History("m", 0, records))
    append(tmp_path / "log.jsonl", made_setting(validation=0.1), trial)
    (row,) = mnistcnn.experiments(tmp_path / "log.jsonl").to_dicts()
    assert (row["best_validation"], row["last_validation"]) == (0.97, 0.95)


def test_repeated_seed_replaces_the_earlier_trial(log: Path):
    append(log, made_setting(), made_trial(1, 0.5))
    table = mnistcnn.experiments(log)
    assert sorted(table[0].accuracies) == [0.5, 0.993, 0.9938]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Return the logs of two shards of six seeds; seed 4 is missing."""
    paths = [tmp_path / "shard-1.jsonl", tmp_path / "shard-2.jsonl"]
    for seed in (0, 1, 2, 3, 5):
        append(paths[seed % 2], made_setting(), made_trial(seed, 0.99 + seed / 1000), range(6))
    return paths


def test_logs_of_shards_are_merged(shards: list[Path], tmp_path: Path):
    for given in (shards, [str(path) for path in shards], str(tmp_path / "*.jsonl"), [tmp_path / "shard-*", shards[0]]):
        table = mnistcnn.experiments(given)
        assert sorted(table[0].seeds) == [0, 1, 2, 3, 5]
        assert table[0].unfinished == (4,)
        assert table.to_dicts()[0]["missing"] == [4]
        assert repr(table).splitlines()[0] == "1 experiment in 2 logs"
        assert repr(table).splitlines()[-1] == "experiment 0, session7_net: 1 of 6 seeds missing: 4"
        assert "1 of 6 seeds missing: 4</div>" in table._repr_html_()
    alone = mnistcnn.experiments(shards[1])
    assert (alone[0].unfinished, alone[0].seeds) == ((0, 2, 4), (1, 3, 5))


def test_seeds_that_are_no_range_are_logged(tmp_path: Path):
    append(tmp_path / "log.jsonl", made_setting(), made_trial(7, 0.99), [7, 3, 2**63])
    assert mnistcnn.experiments(tmp_path / "log.jsonl")[0].unfinished == (3, 2**63)


def test_many_missing_seeds_are_counted(tmp_path: Path):
    append(tmp_path / "log.jsonl", made_setting(), made_trial(0, 0.99), range(100))
    last = repr(mnistcnn.experiments(tmp_path / "log.jsonl")).splitlines()[-1]
    assert last.startswith("experiment 0, session7_net: 99 of 100 seeds missing: 1, 2, 3, ")
    assert last.endswith(", 20 and 79 more")


def test_a_seed_in_two_logs_raises(shards: list[Path]):
    append(shards[1], made_setting("other"), made_trial(2, 0.5))  # another experiment
    mnistcnn.experiments(shards)
    append(shards[1], made_setting(), made_trial(2, 0.5), range(6))
    with pytest.raises(ValueError, match=r"shard-1.jsonl and .*shard-2.jsonl both contain seed 2 of the same experim"):
        mnistcnn.experiments(shards)


def test_a_pattern_without_logs_raises(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no experiment log matches .*none\*.jsonl"):
        mnistcnn.experiments(tmp_path / "none*.jsonl")
    with pytest.raises(ValueError, match="at least one experiment log, got none"):
        mnistcnn.experiments([])


def test_different_data_or_recipe_is_a_different_experiment(log: Path):
    append(log, made_setting(recipe={**made_setting().recipe, "epochs": 3}), made_trial(0, 0.99))
    append(log, made_setting(train_set=dataclasses.replace(made_setting().train_set, digest="c")), made_trial(0, 0.99))
    assert len(mnistcnn.experiments(log)) == 4


def test_digest_and_number_of_images_distinguish_data_sets(tmp_path: Path):
    log, facts = tmp_path / "log.jsonl", made_setting().train_set
    small = dataclasses.replace(facts, images=500, digest="c" * 64)
    for data in ({}, {"train_set": small}, {"test_set": small}, {"validation": small}):
        append(log, made_setting(**data), made_trial(0, 0.99))
    rows = mnistcnn.experiments(log).to_dicts()
    assert [row["images"] for row in rows] == [60_000, 500, 60_000, 60_000]
    assert len({row["digest"] for row in rows}) == 4
    assert all(len(row["digest"]) == 8 for row in rows)


def test_recipe_column_shows_the_differences(tmp_path: Path):
    log, published = tmp_path / "log.jsonl", mnistcnn.recipe("session7_net", "rotation_step")
    others = {
        "optimizer": mnistcnn.optim.Adam(lr=0.002),
        "augment": [mnistcnn.transforms.CenterCrop(22), mnistcnn.transforms.Resize(28)],
    }
    for recipe in (published, published.replace(batch_size=64), mnistcnn.Recipe(), mnistcnn.Recipe(**others)):
        append(log, made_setting(recipe=recipe.describe()), made_trial(0, 0.99))
    found = [row["recipe"] for row in mnistcnn.experiments(log).to_dicts()]
    assert found[:3] == ["published", "published, batch_size 64", "default"]
    assert found[3].startswith("Adam(lr=0.002), CenterCrop(size=")
    table = repr(mnistcnn.experiments(log))
    assert "session7_net (rotation_step)  published, batch_size 64" in table
    assert f"  {found[3][:39]}…  mnist" in table  # long descriptions are truncated


def test_dataframe_has_a_recipe_column(log: Path):
    pytest.importorskip("pandas")
    assert mnistcnn.experiments(log).to_dataframe()["recipe"].tolist() == ["epochs 2", "epochs 2"]


def test_incomplete_last_line_is_skipped_with_a_warning(log: Path):
    content = log.read_bytes()
    log.write_bytes(content[:-40])  # the writer was killed
    with pytest.warns(UserWarning, match="line 5: not a valid trial, skipped"):
        table = mnistcnn.experiments(log)
    assert len(table[1]) == 1
    append(log, made_setting("third"), made_trial(0, 0.97))  # starts a new line
    with pytest.warns(UserWarning, match="line 5: not a valid trial"):
        table = mnistcnn.experiments(log)
    assert [trials.setting.model for trials in table] == ["session7_net", "other", "third"]


@pytest.mark.parametrize(
    "line", ["[]", "{}", "3", '{"format": "mnistcnn trial 1", "setting": {}, "trial": {}}', "\xff"]
)
def test_invalid_lines_are_skipped(log: Path, line: str):
    with log.open("a", encoding="latin-1") as file:
        file.write(line + "\n\n")
    with pytest.warns(UserWarning, match="line 6"):
        assert len(mnistcnn.experiments(log)) == 2


def test_file_without_a_trial_raises(tmp_path: Path):
    (tmp_path / "four.png").write_bytes(b"\x89PNG\n\x1a\n")
    with pytest.raises(ValueError, match=r"four.png is not an experiment log: .*line 1: not valid JSON"):
        mnistcnn.experiments(tmp_path / "four.png")


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from studies import made_setting, made_trial
from mnistcnn.study.log import append
for number in range(40):
    append(Path(sys.argv[2]), made_setting("m" * 3000), made_trial(int(sys.argv[3]) * 100 + number, 0.99))
"""


def test_compressed_log_is_read(log: Path):
    compressed = log.with_suffix(".jsonl.gz")
    compressed.write_bytes(gzip.compress(log.read_bytes()))
    assert mnistcnn.experiments(compressed).to_dicts() == mnistcnn.experiments(log).to_dicts()


def test_compressed_logs_are_read_only(log: Path):
    compressed = log.with_suffix(".jsonl.gz")
    with pytest.raises(ValueError, match=r"log\.jsonl\.gz must not be compressed; pass a name that ends in \.jsonl"):
        check_log(compressed)
    compressed.write_bytes(log.read_bytes())  # not compressed, in spite of its name
    assert len(mnistcnn.experiments(compressed)) == len(mnistcnn.experiments(log))
    compressed.write_bytes(gzip.compress(log.read_bytes())[:-20])
    with pytest.raises(ValueError, match=r"log\.jsonl\.gz is damaged"):
        mnistcnn.experiments(compressed)


def test_concurrent_writers_do_not_interleave(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    commands = [[sys.executable, "-c", WRITER, str(Path(__file__).parent), str(path), str(k)] for k in range(3)]
    writers = [subprocess.Popen(command) for command in commands]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(path)
    assert sorted(logged.trial.seed for logged in found) == sorted(
        k * 100 + number for k in range(3) for number in range(40)
    )


def test_failed_write_leaves_no_partial_line(log: Path, monkeypatch: pytest.MonkeyPatch):
    content = log.read_bytes()
    write = os.write
    sizes = iter([5])

    def failing(handle: int, data: bytes) -> int:
        for size in sizes:
            return write(handle, data[:size])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", failing)
    with pytest.raises(OSError, match="No space left"):
        append(log, made_setting(), made_trial(9, 0.9))
    assert log.read_bytes() == content


@pytest.mark.parametrize("existed", [False, True])
def test_failed_write_leaves_no_empty_log(existed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    log = tmp_path / "new.jsonl"
    if existed:
        log.touch()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", failing)
        with pytest.raises(OSError, match="No space left"):
            append(log, made_setting(), made_trial(9, 0.9))
    assert log.exists() == existed
    append(log, made_setting(), made_trial(9, 0.9))
    assert len(read(log)) == 1


def test_log_removed_by_another_writer_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, lock = tmp_path / "log.jsonl", fcntl.flock
    removals = iter([log])

    def flock(handle: int, kind: int) -> None:
        lock(handle, kind)
        for path in removals:
            path.unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    append(log, made_setting(), made_trial(9, 0.9))
    assert len(read(log)) == 1


def test_file_systems_without_locks_are_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int, kind: int) -> None:
        raise OSError("No locks available")

    log = tmp_path / "log.jsonl"
    monkeypatch.setattr(fcntl, "flock", flock)
    append(log, made_setting(), made_trial(9, 0.9))

    def failing(handle: int, content: bytes) -> int:
        with log.open("a") as file:  # another process
            file.write("other\n")
        raise OSError("No space left on device")

    before = log.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", failing)
        with pytest.raises(OSError, match="No space left"):
            append(log, made_setting(), made_trial(9, 0.9))
    assert log.read_bytes() == before + b"other\n"


def test_missing_log_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"experiment log experiments.jsonl does not exist; mnistcnn.run_trials"
    ):
        mnistcnn.experiments()
    for call in (check_log, mnistcnn.experiments):
        with pytest.raises(IsADirectoryError, match=r"must be a file, such as .*experiments.jsonl; .* is a directory"):
            call(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"directory .*nowhere of the experiment log does not exist"):
        check_log(tmp_path / "nowhere" / "log.jsonl")


def test_command_shows_a_log_whose_path_is_not_utf8(log: Path):
    folder = Path(os.fsdecode(os.fsencode(log.parent) + b"/r\xfcn"))
    folder.mkdir()
    path = log.rename(folder / "log.jsonl")
    command = [sys.executable, "-m", "mnistcnn", "experiments", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "99.36 ± 0.05 %" in shown.stdout


def test_another_file_is_not_appended_to(tmp_path: Path):
    path = tmp_path / "model.py"
    path.write_text("import torch\n")
    with pytest.raises(ValueError, match=r"model.py is not an experiment log; pass another path as log="):
        check_log(path)
    path.write_text("")
    check_log(path)
    append(path, made_setting(), made_trial(0, 0.99))
    check_log(path)
