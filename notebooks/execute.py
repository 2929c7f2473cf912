"""Execute notebooks with the settings that they contain, and store their outputs.

    python notebooks/execute.py                          # all, in about half an hour on two cores
    python notebooks/execute.py 01_quickstart 04_why_it_fails

The notebooks run in a temporary directory. Each stores the SHA-256 of its code and the seconds that it took, so that a
test can check whether code and outputs belong together. Progress bars are not stored, and pictures are stored with a
palette of 64 colours.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from PIL import Image

HERE = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"


def code_digest(notebook: Any) -> str:
    """Return the SHA-256 of the source of all code cells."""
    digest = hashlib.sha256()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            digest.update(cell.source.encode() + b"\0")
    return digest.hexdigest()


def small_png(encoded: str) -> str:
    """Return the picture with a palette of 64 colours, as base64 text."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        reduced = image.convert("RGB").quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    reduced.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def cleaned(outputs: list[Any]) -> list[Any]:
    """Return the outputs without progress bars, with small pictures."""
    kept = [each for each in outputs if WIDGET not in each.get("data", {})]
    for each in kept:
        if "image/png" in each.get("data", {}):
            each.data["image/png"] = small_png(each.data["image/png"])
    return kept


def execute(path: Path) -> float:
    """Execute a notebook and write it with its outputs; return the seconds."""
    notebook = nbformat.read(path, as_version=4)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=resources).execute()
    seconds = time.monotonic() - begin
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of each cell, which differ in every run
        if cell.cell_type == "code":
            cell.outputs = cleaned(cell.outputs)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["mnistcnn"] = {"code_sha256": code_digest(notebook), "seconds": round(seconds)}
    nbformat.write(notebook, path)
    return seconds


def main() -> None:
    """Execute the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(path.stem for path in HERE.glob("*.ipynb"))
    parser.add_argument("names", nargs="*", choices=[[], *names], metavar="NOTEBOOK", help=", ".join(names))
    for name in parser.parse_args().names or names:
        print(f"{name}: {execute(HERE / f'{name}.ipynb'):.0f} s", flush=True)


if __name__ == "__main__":
    main()
