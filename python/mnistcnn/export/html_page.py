"""Export of a model to one HTML page: a canvas to draw on, and the network in JavaScript."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.atomic_files import write_whole
from mnistcnn._internal.suffixes import check_suffix
from mnistcnn.convert.from_torch import as_model, warn_without_normalization
from mnistcnn.data.digitize import SIDE
from mnistcnn.demo.server import PAGE
from mnistcnn.export.lowering import lowered
from mnistcnn.export.program import Array, Program, key_of
from mnistcnn.nn.class_names import class_names

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model

_NETWORK = Path(__file__).with_name("network.js")
# The browser blocks every request of the page.
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">"
)


def export_html(model: Model | nn.Module, path: str | Path) -> Path:
    """Write a model in evaluation mode to one HTML page that classifies drawn digits, without network access.

    The page is that of ``mnistcnn demo``, but the network runs in the page, in plain JavaScript. Drawings are prepared
    as by `as_digit`. The outputs differ from the model's by float32 rounding only. A network with 8,000 parameters
    gives a page of 70 kB.

    Parameters
    ----------
    model
        Model to export, or a PyTorch module, which is converted as by `mnistcnn.from_torch`. Its input is [1, 28, 28],
        its outputs are classes.
    path
        File to write. An existing file is replaced atomically.

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    ValueError
        If the input or the output has another shape, or a layer is not supported: dropout in evaluation, or batch norm
        without running statistics. If the suffix of ``path`` is that of another format, such as ``.onnx``.

    Examples
    --------
    >>> import mnistcnn, tempfile
    >>> from pathlib import Path
    >>> model = mnistcnn.create_model("session7_net", seed=1)
    >>> path = mnistcnn.export_html(model, Path(tempfile.mkdtemp()) / "digit.html")
    >>> path.stat().st_size < 100_000
    True
    """
    path = check_suffix(path, ".html")
    module, model = model, as_model(model)
    if model.input_shape != (1, SIDE, SIDE):
        raise ValueError(
            f"the page requires a model with input shape [1, {SIDE}, {SIDE}], got model '{model.name}' with "
            f"{list(model.input_shape)}"
        )
    _ = model.num_classes  # raises ValueError if the outputs are not classes
    warn_without_normalization(module, model)
    return write_whole(path, page(lowered(model), class_names(model)).encode())


def page(program: Program, names: tuple[str, ...]) -> str:
    """Return the page: index.html of the demo with its files inserted, and network.js instead of server.js."""
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r'<script src="/([\w.]+)" defer></script>\n', text)
    files = [_NETWORK if name == "server.js" else PAGE / name for name in scripts]
    code = "\n".join(file.read_text(encoding="utf-8").replace('"use strict";\n', "") for file in files)
    icon = base64.b64encode((PAGE / "icon.svg").read_bytes()).decode()
    style = (PAGE / "page.css").read_text(encoding="utf-8")
    text = re.sub(r"<script .*</script>\n", "", text)
    for old, new in {
        '<link rel="stylesheet" href="/page.css">': f"<style>\n{style}</style>",
        'href="/icon.svg"': f'href="data:image/svg+xml;base64,{icon}"',
        '<meta charset="utf-8">': f'<meta charset="utf-8">\n{_POLICY}',
        "</body>": f'<script>\n"use strict";\nconst PROGRAM = {_json(program, names)};\n{code}</script>\n</body>',
    }.items():
        assert old in text
        text = text.replace(old, new)
    return text


def _json(program: Program, names: tuple[str, ...]) -> str:
    """Return the program as JSON that may stand in a script element."""
    positions = {key_of(array): index for index, array in enumerate(program.arrays)}
    described = {
        "name": program.name,
        "parameters": program.parameters,
        "names": names,
        "outputs": program.outputs,
        "memory": program.memory,
        "image": program.image,
        "output": program.output,
        "scale": program.scale,
        "shift": program.shift,
        "arrays": [_encoded(array) for array in program.arrays],
        "calls": [
            [call.primitive, call.offsets, *([positions[key_of(each)]] if isinstance(each, np.ndarray) else each
                                             for each in call.arguments)]
            for call in program.calls
        ],
    }  # fmt: skip
    return json.dumps(described, separators=(",", ":")).replace("<", "\\u003c")


def _encoded(array: Array) -> Any:
    """Return an array as a string or list; `decoded` in network.js reads it."""
    return base64.b64encode(array.astype("<f4").tobytes()).decode() if array.dtype == np.float32 else array.tolist()
