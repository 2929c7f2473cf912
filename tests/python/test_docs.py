"""Tests of the pages: their Python blocks run, tables are current, every public name is in the reference."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot
import pytest
import torch

import mnistcnn

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md"]
PAGES += sorted((ROOT / "docs" / "tutorial").glob("*.md")) + sorted((ROOT / "docs" / "howto").glob("*.md"))
PAGES += [ROOT / "docs" / name for name in ("studies.md", "reference/records.md", "reference/layers.md")]
# Visible blocks, and blocks with checks in comments.
PYTHON = re.compile(r"^```python\n(.*?)^```$|^<!--python\n(.*?)^-->$", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"^::: (mnistcnn\.[\w.]+)$", re.MULTILINE)
# Packages that a page needs, by its name.
NEEDS = {
    "experiment": ["optuna"],
    "sweep": ["optuna"],
    "export": ["onnx", "onnxruntime"],
    "sklearn": ["sklearn"],
    "images": ["PIL"],
}


def blocks(page: Path) -> list[tuple[int, str]]:
    """Return the line and the code of every Python block of a page."""
    text = page.read_text(encoding="utf-8")
    found = PYTHON.finditer(text)
    return [(text.count("\n", 0, each.start()) + 1, each.group(1) or each.group(2)) for each in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_visible_blocks_do_not_need_hidden_ones(page: Path):
    """A reader copies the visible blocks into a notebook, so hidden blocks may only follow them."""
    hidden = [text.startswith("<!--") for text in (each.group() for each in PYTHON.finditer(page.read_text("utf-8")))]
    assert hidden == sorted(hidden)


@pytest.fixture
def small(digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replace every data set by a few hundred digits and change to an empty directory."""
    train_set, test_set = digits[0][:240], digits[1][:100]
    monkeypatch.setattr("mnistcnn.load", lambda *_, **__: (train_set, test_set))
    monkeypatch.setattr("mnistcnn.data.datasets.load", lambda *_, **__: (train_set, test_set))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_python_blocks_run(page: Path, small: None):
    from matplotlib import pyplot as plt

    for extra in NEEDS.get(page.stem, ()):
        pytest.importorskip(extra)
    names: dict[str, Any] = {"__name__": "__main__"}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        for line, code in blocks(page):
            lines = "\n" * line + code  # so that line numbers in tracebacks are those of the page
            exec(compile(lines, str(page), "exec", dont_inherit=True), names)
    plt.close("all")


def test_tables_are_current(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    tables = importlib.import_module("tables")
    old = [page.name for page in tables.PAGES if tables.renewed(page.read_text("utf-8")) != page.read_text("utf-8")]
    assert not old, f"outdated, run python docs/tables.py: {old}"
    marked = {name for page in tables.PAGES for _, name, _ in tables.MARKED.findall(page.read_text("utf-8"))}
    assert marked == {*tables.BLOCKS, "names"}
    assert tables.renewed("<!-- zoo: begin -->\nold\n<!-- zoo: end -->").count("| [`") == len(mnistcnn.list_models())
    with pytest.raises(ValueError, match="no table 'zoom'"):
        tables.renewed("<!-- zoom: begin -->\n<!-- zoom: end -->")


@pytest.mark.parametrize("name", ["accuracy", "frontier"])
def test_figures_of_accuracies_are_current(name: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("PIL")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    script = importlib.import_module("accuracy_figure")
    assert set(script.FIGURES) == {"accuracy", "frontier"}
    current = script.digest(script.FIGURES[name][0]())
    assert script.stored_digest(name) == current, "outdated, run python docs/accuracy_figure.py"


def test_figure_of_accuracies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    script = importlib.import_module("accuracy_figure")
    values = script.shown()
    name, (accuracies, reported) = next(iter(values.items()))
    assert script.digest({**values, name: (accuracies[1:], reported)}) != script.digest(values)
    drawn = script.figure(values)
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == list(values)
    matplotlib.pyplot.close(drawn)


def test_figure_of_the_frontier(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    script = importlib.import_module("accuracy_figure")
    points, reported = script.frontier()
    drawn = script.frontier_figure((points, reported))
    ours, others = (collection.get_offsets() for collection in drawn.axes[0].collections[-2:])
    assert len(ours) == len(points)
    assert len(others) == len(reported)
    bottom, top = drawn.axes[0].get_ylim()  # of the error rate in percent
    assert bottom > top
    assert all(bottom >= 100 * (1 - each.mean) >= top for each in points)
    matplotlib.pyplot.close(drawn)


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_pytorch_code_defines_the_same_network(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    generator = importlib.import_module("pytorch_code")
    model = mnistcnn.create_model(name)
    names: dict[str, Any] = {"nn": torch.nn}
    exec(generator.pytorch_code(model), names)
    network = names[generator.class_name(name)]()
    assert list(network.state_dict()) == list(model.state_dict())
    network.load_state_dict(model.state_dict())
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(network.eval()(images), model.eval()(images), rtol=1e-5, atol=1e-5)


def test_pytorch_code_raises_for_a_graph_that_is_not_a_chain(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    model = mnistcnn.Model(
        [mnistcnn.layers.Residual([mnistcnn.layers.ReLU()]), mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)]
    )
    with pytest.raises(ValueError, match="not a chain"):
        importlib.import_module("pytorch_code").pytorch_code(model)


def test_every_public_name_is_in_the_reference():
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    listed = [name for page in pages for name in REFERENCE.findall(page.read_text(encoding="utf-8"))]
    assert len(listed) == len(set(listed))
    public = {f"mnistcnn.{name}" for name in (*mnistcnn.__all__, "DataLoader") if name != "__version__"}
    for namespace in ("callbacks", "explain", "layers", "losses", "optim", "plot", "profile", "study", "transforms"):
        public |= {f"mnistcnn.{namespace}.{name}" for name in getattr(mnistcnn, namespace).__all__}
    twice = {f"mnistcnn.study.{name}" for name in mnistcnn.study.__all__ if name in mnistcnn.__all__}
    missing = public - twice - set(listed)
    assert not missing, f"missing in docs/reference: {sorted(missing)}"


def test_pages_of_the_reference_are_readable_without_the_generated_part():
    """On a code host only the table of the names is visible; it must precede the generated part."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for name in REFERENCE.findall(text):
            row = re.search(rf"^\| `{re.escape(name)}` \| .*\w.* \|$", text, re.MULTILINE)
            if name != "mnistcnn.course":  # the module's own text
                assert row, f"{page.name}: {name}"
                assert row.start() < text.index("\n::: ")


def test_every_page_is_in_the_navigation_and_every_picture_is_small():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in navigation
    pictures = sorted((ROOT / "docs" / "pictures").glob("*.png"))
    shown = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert len(pictures) > 3
    for picture in pictures:
        assert picture.stat().st_size < 150_000, picture.name
        assert f"pictures/{picture.name}" in shown, picture.name


def test_the_install_page_lists_all_extras():
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    extras = importlib.metadata.metadata("mnistcnn").get_all("Provides-Extra")
    assert len(extras) > 5
    assert [name for name in extras if f"`{name}`" not in text] == []


def test_links_of_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (ROOT / target).exists(), target
