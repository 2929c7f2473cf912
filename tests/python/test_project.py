"""The project that ``mnistcnn new`` writes: its script, its notebook and the commands of its workflow run."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mnistcnn
from mnistcnn.cli import app
from mnistcnn.course.project import TEMPLATES, create_project

FILES = {"model.py", "train.py", "assignment.ipynb", ".github/workflows/check.yml", ".gitignore"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "my project"
    create_project(folder)
    return folder


def test_command_writes_the_files_and_prints_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(app, ["new", str(tmp_path / "a" / "b")])
    assert done.exit_code == 0
    written = {str(path.relative_to(tmp_path / "a" / "b")) for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert written == FILES
    assert all(f"written: {tmp_path / 'a' / 'b' / name}" in done.stdout for name in FILES)
    assert "python train.py Model_1" in done.stderr
    (command,) = re.findall(r"mnistcnn (check \S+ --no-train);", done.stderr)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert CliRunner().invoke(app, shlex.split(command)).exit_code == 0


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("mine")
    with pytest.raises(FileExistsError, match=r"model\.py must not exist; give another directory"):
        create_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]
    assert (tmp_path / "model.py").read_text() == "mine"


def test_directory_that_is_a_file_raises(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(NotADirectoryError, match="notes is a file; pass the path of a new directory"):
        create_project(tmp_path / "notes")


def test_structure_commands_of_the_workflow_pass(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    text = (project / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8")
    commands = re.findall(r"mnistcnn (check (?:.+\n\s+--)*.+)", text)
    assert len(commands) == 3
    for each in commands:
        words = shlex.split(each.replace("$GITHUB_STEP_SUMMARY", "summary.md"))
        done = CliRunner().invoke(app, [*words, "--no-train"])
        assert done.exit_code == 0, done.output
    assert "✓ | gap" in (project / "summary.md").read_text(encoding="utf-8")


def test_receptive_fields_cover_the_image() -> None:
    """The report lists them, so all steps must pool in a way for which the receptive field is defined."""
    steps = runpy.run_path(str(TEMPLATES / "model.py"))
    fields = [mnistcnn.from_torch(steps[f"Model_{i}"]()).summary().receptive_field for i in (1, 2, 3)]
    assert fields == [48, 62, 62]


def test_train_script_runs(project: Path) -> None:
    options = ("--data", "digits", "--images", "300", "--epochs", "1")
    command = [sys.executable, "train.py", "Model_3", *options]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "7,570 parameters" in done.stdout
    assert (project / "Model_3.png").stat().st_size > 5000
    assert (project / "Model_3.safetensors").exists()


def test_notebook_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(project / "assignment.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    small = nbformat.v4.new_code_cell('data, images, epochs = "digits", 200, 1')
    notebook.cells.insert(place + 1, small)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(project)}}).execute()
    assert "Model_3: all 4 passed" in str(notebook.cells[-1].outputs)
