"""``mnistcnn demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistcnn.cli.output import say

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

_SAVED = Path("session7_net.safetensors")
_EPOCHS = 3


def demo(
    file: Annotated[
        Path | None,
        typer.Argument(help=f"A saved model; by default {_SAVED}, or where there is none a quickly trained one."),
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets everybody in the network see the page.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8428,
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
) -> None:
    """Draw digits on a local page and watch a model read them. Ctrl-C ends it."""
    import mnistcnn
    from mnistcnn.demo import serve
    from mnistcnn.demo.server import need_packages

    need_packages()
    if file is None and _SAVED.exists():
        file = _SAVED
    model = _quickly_trained() if file is None else mnistcnn.load_model(file)
    serve(
        model,
        host=host,
        port=port,
        open_browser=browser,
        on_start=lambda address: say(f"{model.name} reads digits at {address} (Ctrl-C ends it)"),
    )


def _quickly_trained() -> Model:
    import mnistcnn
    from mnistcnn.data.datasets import load_auto

    train_set, _, message = load_auto()
    if message:
        say(message)
    say(f"no saved model: training {_SAVED.stem} on {train_set.name} for {_EPOCHS} epochs")
    model = mnistcnn.create_model(_SAVED.stem)
    mnistcnn.train(model, train_set, epochs=_EPOCHS)
    return model
