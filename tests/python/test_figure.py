"""Figures in a notebook with a real kernel: each figure must be displayed once, at any position in its cell."""

from __future__ import annotations

import base64
import os
import struct
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib_inline")

BEGIN = """
import mnistcnn
from mnistcnn import History
from mnistcnn.callbacks import EpochRecord
history = History("net", 0, [EpochRecord(1, .5, .8, .4, .9, .01, 1.), EpochRecord(2, .3, .9, .2, .95, .01, 1.)])
"""
LAST, FIRST, KEPT, AGAIN, OWN, SHOWN, TWO, SVG = range(1, 9)
CELLS = [
    BEGIN,
    "mnistcnn.plot.curves(history)",
    "mnistcnn.plot.curves(history)\nNone",
    "kept = mnistcnn.plot.curves(history)",
    "kept",
    "from matplotlib import pyplot as plt\n_, ax = plt.subplots()\nmnistcnn.plot.trials({'a': [0.9, 0.91]}, ax=ax)",
    "mnistcnn.plot.trials({'a': [0.9, 0.91]})\nplt.show()",
    "mnistcnn.plot.curves(history)\nmnistcnn.plot.trials({'a': [0.9, 0.91]})",
    "%config InlineBackend.figure_formats = ['svg']\nmnistcnn.plot.trials({'a': [0.9, 0.91]})",
]
TRAINED = [
    "import mnistcnn, signal, threading, os, time",
    "data = mnistcnn.load('digits')[1][:600]\nmodel = mnistcnn.create_model('budget_model3', seed=1)\n"
    "live = mnistcnn.plot.LiveCurves()\n"
    "history = mnistcnn.train(model, data, validation=data, epochs=3, callbacks=[live])",
    "model",
    "history",
    "mnistcnn.test(model, data)",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def execute(cells: list[str], *, allow_errors: bool = False) -> list[Any]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        folder = tmp_path_factory.mktemp("notebook")
        client = nbclient.NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            allow_errors=allow_errors,
            resources={"metadata": {"path": str(folder)}},
        )
        environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
        client.execute(env={**environment, "PYTHONPATH": str(Path(site_directory())), "IPYTHONDIR": str(folder)})
        return [cell.outputs for cell in notebook.cells]

    return execute


def site_directory() -> Path:
    import mnistcnn

    return Path(mnistcnn.__file__).parents[1]


def widths(outputs: list[Any]) -> list[int]:
    """Return the widths of the PNG images in pixels, in the order of the outputs."""
    pngs = [base64.b64decode(each["data"]["image/png"]) for each in outputs if "image/png" in each.get("data", {})]
    return [struct.unpack(">I", png[16:20])[0] for png in pngs]


def images(outputs: list[Any], kind: str = "image/png") -> int:
    return sum(kind in output.get("data", {}) for output in outputs)


@pytest.mark.filterwarnings("ignore")
def test_notebook_displays_a_figure_once(run: Any):
    shown = run(CELLS)
    assert {name: images(shown[index]) for name, index in zip("abcd", (LAST, FIRST, KEPT, AGAIN), strict=True)} == {
        "a": 1,
        "b": 1,
        "c": 1,
        "d": 1,
    }
    assert images(shown[OWN]) == 1
    assert images(shown[SHOWN]) == 1
    curves, trials = *widths(shown[LAST]), *widths(shown[SHOWN])
    assert curves != trials
    assert widths(shown[TWO]) == [curves, trials]  # in the order of the calls
    assert (images(shown[SVG], "image/svg+xml"), images(shown[SVG])) == (1, 0)


@pytest.mark.filterwarnings("ignore")
def test_notebook_updates_live_curves_in_place_and_displays_tables(run: Any):
    shown = run(TRAINED)
    live = [each for each in shown[1] if "image/png" in each.get("data", {})]
    assert len(live) == 1  # updated in place
    for outputs in shown[2:]:
        assert any("<table" in each.get("data", {}).get("text/html", "") for each in outputs)
