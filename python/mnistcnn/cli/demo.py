"""Command ``mnistcnn demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistcnn.cli import interruption
from mnistcnn.cli.output import print_message

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

_DEFAULT_FILE = Path("session7_net.safetensors")
_EPOCHS = 3


def demo(
    file: Annotated[
        Path | None,
        typer.Argument(
            help=f"Saved model. Default: {_DEFAULT_FILE} if it exists, otherwise a model trained for {_EPOCHS} epochs."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 makes the page visible to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 selects a free port.")] = 8428,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Classify digits drawn on a local web page. Press Ctrl-C to stop."""
    import mnistcnn
    from mnistcnn.demo import serve
    from mnistcnn.demo.server import check_packages

    check_packages()
    if file is None and _DEFAULT_FILE.exists():
        file = _DEFAULT_FILE
        print_message(f"model {file}; for another one: mnistcnn demo FILE")
    model = _train_quickly() if file is None else mnistcnn.load_model(file)
    serve(
        model,
        host=host,
        port=port,
        open_browser=browser,
        on_start=lambda address: print_message(f"serving {model.name} at {address} (press Ctrl-C to stop)"),
    )
    if interruption.terminated():  # Ctrl-C is the usual end, with exit code 0
        raise typer.Exit(interruption.exit_code())


def _train_quickly() -> Model:
    import mnistcnn
    from mnistcnn.data.datasets import load_auto

    train_set, _, message = load_auto()
    if message:
        print_message(message)
    print_message(f"no file {_DEFAULT_FILE}: training {_DEFAULT_FILE.stem} on {train_set.name} for {_EPOCHS} epochs")
    model = mnistcnn.create_model(_DEFAULT_FILE.stem)
    mnistcnn.train(model, train_set, epochs=_EPOCHS)
    return model
