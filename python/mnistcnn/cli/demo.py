"""Command ``mnistcnn demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from mnistcnn.cli import interruption
from mnistcnn.cli.options import TRAINED_OR_DEFAULT, load_trained
from mnistcnn.cli.output import print_message


def demo(
    model: Annotated[str | None, typer.Argument(help=TRAINED_OR_DEFAULT)] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 makes the page visible to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 selects a free port.")] = 8428,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Classify digits drawn on a local web page. Press Ctrl-C to stop."""
    from mnistcnn.demo import serve
    from mnistcnn.demo.server import check_packages

    check_packages()
    network = load_trained(model)
    serve(
        network,
        host=host,
        port=port,
        open_browser=browser,
        on_start=lambda address: print_message(f"serving {network.name} at {address} (press Ctrl-C to stop)"),
    )
    if interruption.terminated():  # Ctrl-C is the usual end, with exit code 0
        raise typer.Exit(interruption.exit_code())
