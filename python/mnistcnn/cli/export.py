"""``mnistcnn export``: a saved model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnistcnn.cli.options import check_target
from mnistcnn.cli.output import print_json


def export(
    file: Annotated[Path, typer.Argument(help="A saved model.")],
    onnx: Annotated[Path | None, typer.Option(help="Write an ONNX file, for onnxruntime and many others.")] = None,
    torch: Annotated[Path | None, typer.Option(help="Write the weights of the same network in torch.nn.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a saved model as ONNX, or its weights for PyTorch. The weights are a safetensors file.

    The weights fit ``mnistcnn.load_model(FILE).to_torch()``, or a class of one's own with the same names.
    """
    import mnistcnn

    if onnx is None and torch is None:
        raise typer.BadParameter("say what to write: --onnx FILE or --torch FILE")
    check_target(onnx, option="--onnx", endings=(".onnx",))
    check_target(torch, option="--torch", endings=(".safetensors",))
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
