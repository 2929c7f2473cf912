"""Command ``mnistcnn export``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistcnn.cli.model_files import check_new
from mnistcnn.cli.options import TrainedModel, check_writable, load_trained
from mnistcnn.cli.output import print_json

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


class Format(str, Enum):
    """Format of an exported model."""

    html = "html"
    c = "c"
    onnx = "onnx"
    torch = "torch"
    safetensors = "safetensors"


_SUFFIXES = {
    Format.html: ".html",
    Format.c: ".h",
    Format.onnx: ".onnx",
    Format.torch: ".pt",
    Format.safetensors: ".safetensors",
}


def export(
    model: TrainedModel,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="html: a page that classifies drawn digits. c: a C99 header. onnx: a file for onnxruntime and others. "
            "torch, safetensors: the weights for PyTorch, as a state dict or a safetensors file.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: MODEL with the suffix of the format."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print format and path of the written file as JSON.")] = False,
) -> None:
    """Export a model to HTML, C, ONNX or PyTorch.

    The formats torch and safetensors hold the state dict of the model's PyTorch network, which any module with the same
    parameter names can load.
    """
    suffix = _SUFFIXES[file_format]
    source = Path(model)
    path = source.with_suffix(suffix) if output is None else output
    check_writable(path, option="--output", endings=(suffix,))
    if path.absolute() == source.absolute():
        raise typer.BadParameter(f"--format {file_format.value} would replace the model {model}: pass --output FILE")
    check_new(path, option="--output", overwrite=overwrite)
    _write(load_trained(model), file_format, path)
    if as_json:
        print_json({file_format.value: str(path)})
    else:
        print(f"written to {path} ({path.stat().st_size / 1000:,.0f} kB)")


def _write(model: Model, file_format: Format, path: Path) -> None:
    import mnistcnn

    if file_format is Format.html:
        mnistcnn.export_html(model, path)
    elif file_format is Format.c:
        mnistcnn.export_c(model, path)
    elif file_format is Format.onnx:
        mnistcnn.export_onnx(model, path)
    else:
        _write_weights(model, path)


def _write_weights(model: Model, path: Path) -> None:
    import torch
    from safetensors.torch import save

    from mnistcnn._internal.atomic_files import replacing
    from mnistcnn._internal.tensor_files import cpu_copies

    weights = cpu_copies(model.to_torch(copy=False).state_dict())
    with replacing(path) as file:
        if path.suffix.lower() == _SUFFIXES[Format.torch]:
            torch.save(weights, file)
        else:
            file.write(save(weights))
