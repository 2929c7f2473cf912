"""Commands ``mnistcnn models`` and ``mnistcnn summary``."""

from __future__ import annotations

from typing import Annotated

import typer

from mnistcnn._internal.tables import percent
from mnistcnn.cli.options import JsonOption, ModelOrFile, load_or_create, networks
from mnistcnn.cli.output import print_json, print_table


def models(
    pattern: Annotated[str, typer.Argument(help="Networks to list, for example 'session7*'.")] = "*",
    as_json: JsonOption = False,
) -> None:
    """List the built-in networks.

    The last column is the accuracy of the pretrained weights on the test set of MNIST.
    """
    import mnistcnn
    from mnistcnn.nn.pretrained import cards

    found = [mnistcnn.create_model(name) for name in networks(pattern)]
    summaries = [network.summary() for network in found]
    accuracies = {name: card.test_accuracy for name, card in cards().items()}
    if as_json:
        keys = ("parameters", "macs", "receptive_field")
        print_json(
            [
                {
                    "name": network.name,
                    **{key: getattr(table, key) for key in keys},
                    "outputs": network.outputs,
                    "pretrained": accuracies.get(network.name),
                }
                for network, table in zip(found, summaries, strict=True)
            ]
        )
        return
    rows = [
        [
            network.name,
            f"{table.parameters:,}",
            f"{table.macs:,}",
            str(table.receptive_field),
            network.outputs.replace("_", "-"),
            percent(accuracies[network.name]) if network.name in accuracies else "-",
        ]
        for network, table in zip(found, summaries, strict=True)
    ]
    print_table(["model", "parameters", "MACs", "receptive field", "outputs", "pretrained"], rows, left=1)


def summary(
    model: ModelOrFile,
    as_json: JsonOption = False,
) -> None:
    """Show the layers of a published network or of a saved model."""
    table = load_or_create(model).summary()
    if as_json:
        print_json(
            {
                "name": table.name,
                "parameters": table.parameters,
                "macs": table.macs,
                "layers": table.to_dicts(),
            }
        )
    else:
        print(table)
