"""Tests of the notebooks: they run with small settings, and the stored outputs belong to the stored code."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).parents[2] / "notebooks"
# Values that replace those in the cell of a notebook with the tag "parameters".
SMALL: dict[str, dict[str, Any]] = {
    "01_quickstart": {"images": 2000, "epochs": 1},
    "02_journey_to_99_4": {"images": 500, "epochs": 1, "seeds": 2},
    "03_your_own_network": {"images": 2000, "epochs": 1, "batches": 4},
    "04_why_it_fails": {"images": 2000, "epochs": 1},
    "05_experiments": {"images": 500, "epochs": 1, "seeds": 2, "folds": 2, "tries": 2},
    "06_compare_networks": {"images": 200, "epochs": 1},
}
MAX_LINES = 14
FIGURE = re.compile(r"mnistcnn\.plot\.|\.plot\(\)$|plt\.subplots", re.MULTILINE)


def cells_of(name: str) -> list[Any]:
    cells: list[Any] = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    return cells


def parameters_of(name: str) -> Any:
    (found,) = (cell for cell in cells_of(name) if "parameters" in cell.metadata.get("tags", []))
    return found


def code_of(cells: list[Any]) -> Iterator[Any]:
    return (cell for cell in cells if cell.cell_type == "code")


def test_all_notebooks_have_small_settings():
    assert sorted(SMALL) == sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def test_the_page_about_notebooks_lists_all():
    page = (FOLDER.parent / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)\.ipynb` \|", page, re.MULTILINE) == sorted(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_notebooks_have_short_cells_and_state_their_duration(name: str):
    cells = cells_of(name)
    nbformat.validate(nbformat.read(FOLDER / f"{name}.ipynb", as_version=4))
    assert all(len(cell.source.splitlines()) <= MAX_LINES for cell in code_of(cells))
    assert cells[0].cell_type == "markdown"
    assert re.search(r"(second|minute|hour)s? on two cores|[Oo]n two cores .* (second|minute|hour)s?", cells[0].source)
    assert len(cells) < 15 or name != "01_quickstart"


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("execute")


@pytest.mark.parametrize("name", SMALL)
def test_stored_outputs_belong_to_the_code(name: str, execute):
    path = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    stored = notebook.metadata["mnistcnn"]["code_sha256"]
    assert stored == execute.code_digest(notebook), f"outdated, run python notebooks/execute.py {name}"
    for cell in code_of(notebook.cells):
        assert cell.execution_count, cell.source
        assert all(output.output_type != "error" for output in cell.outputs), cell.source
        pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        assert len(pictures) == len(FIGURE.findall(cell.source)), cell.source
    assert path.stat().st_size < 700_000
    next(code_of(notebook.cells)).source += " "
    assert execute.code_digest(notebook) != stored


@pytest.mark.parametrize("name", SMALL)
def test_links_between_notebooks_exist(name: str):
    for cell in cells_of(name):
        for link in re.findall(r"\]\(([^)#]+)\)", cell.source if cell.cell_type == "markdown" else ""):
            assert link.startswith("http") or (FOLDER / link).exists(), link


@pytest.mark.parametrize("name", SMALL)
def test_small_settings_match_the_parameters_cell(name: str):
    given = set(re.findall(r"^(\w+) = ", parameters_of(name).source, re.MULTILINE))
    assert given == {*SMALL[name], "data"}


@pytest.mark.parametrize("name", SMALL)
def test_notebooks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the machine may be shared
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    small = {"data": "mnist" if os.environ.get("MNISTCNN_DATA") else "digits", **SMALL[name]}
    lines = "\n".join(f"{key} = {value!r}" for key, value in small.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(lines))
    options = {"timeout": 300, "kernel_name": "python3", "resources": {"metadata": {"path": str(tmp_path)}}}
    nbclient.NotebookClient(notebook, **options).execute()
    figures = []
    for cell in code_of(notebook.cells):
        shown = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
        assert len(shown) == len(FIGURE.findall(cell.source)), cell.source
        figures += shown
        assert not [output.text for output in cell.outputs if "Warning" in output.get("text", "")], cell.source
    assert len(set(figures)) == len(figures)
