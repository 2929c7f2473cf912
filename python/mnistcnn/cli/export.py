"""Command ``mnistcnn export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnistcnn.cli.options import check_writable
from mnistcnn.cli.output import print_json


def export(
    file: Annotated[Path, typer.Argument(help="Saved model.")],
    onnx: Annotated[
        Path | None, typer.Option(help="Write the model to this ONNX file, for example for onnxruntime.")
    ] = None,
    torch: Annotated[Path | None, typer.Option(help="Write the weights for PyTorch to this safetensors file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths of the written files as JSON.")] = False,
) -> None:
    """Export a saved model to ONNX, or its weights for PyTorch. The weights are written to a safetensors file.

    The weights can be loaded into ``mnistcnn.load_model(FILE).to_torch()``, or into any module with the same parameter
    names.
    """
    import mnistcnn

    if onnx is None and torch is None:
        raise typer.BadParameter("no output file given: pass --onnx FILE, --torch FILE or both")
    check_writable(onnx, option="--onnx", endings=(".onnx",))
    check_writable(torch, option="--torch", endings=(".safetensors",))
    model = mnistcnn.load_model(file)
    written: dict[str, str] = {}
    if onnx is not None:
        mnistcnn.export_onnx(model, onnx)
        written["onnx"] = str(onnx)
    if torch is not None:
        _write_weights(model.to_torch().state_dict(), torch)
        written["torch"] = str(torch)
    if as_json:
        print_json(written)
        return
    for path in written.values():
        print(f"written to {path}")


def _write_weights(weights: dict[str, object], path: Path) -> None:
    from safetensors.torch import save

    from mnistcnn._internal.atomic_files import write_whole

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}  # type: ignore[attr-defined]
    write_whole(path, save(tensors))
