"""The command line: ``mnistcnn train``, ``test``, ``models``, ``summary``."""

from __future__ import annotations

import json
import os
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mnistcnn.image_set import ImageSet

app = typer.Typer(
    help="Small image classifiers on MNIST, trained natively.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Data(str, Enum):
    """What to train or test on."""

    auto = "auto"
    mnist = "mnist"
    fashion_mnist = "fashion_mnist"
    kmnist = "kmnist"
    qmnist = "qmnist"
    digits = "digits"


DataOption = Annotated[
    Data, typer.Option(help="The data set; auto is MNIST, or the drawn digits where MNIST can't be had.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ModelArgument = Annotated[str, typer.Argument(help="A published network; see `mnistcnn models`.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of the engine; by default all cores.")]
EngineOption = Annotated[str, typer.Option(help="auto, lanes or aten.")]


@app.command()
def train(
    model: ModelArgument = "session7_net",
    data: DataOption = Data.auto,
    epochs: Annotated[int, typer.Option(min=1)] = 15,
    batch_size: Annotated[int, typer.Option(min=1)] = 128,
    lr: Annotated[float, typer.Option(help="Learning rate of SGD.")] = 0.01,
    momentum: Annotated[float, typer.Option(help="Momentum of SGD.")] = 0.9,
    seed: Annotated[int, typer.Option(min=0, help="Decides weights, order and dropout.")] = 0,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    save: Annotated[Path | None, typer.Option(help="Where to save the model; by default MODEL.safetensors.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the curves into this file (PNG, SVG, PDF).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a published network and test it on the data's own test set, which chooses nothing."""
    import mnistcnn
    from mnistcnn.zoo import check_name

    check_name(model)  # before any download
    target = save or Path(f"{model}.safetensors")
    _check_targets(target, plot)
    _check_engine(engine)
    optimizer = mnistcnn.SGD(lr=lr, momentum=momentum)
    train_set, test_set = _load(data)
    network = mnistcnn.create_model(model, max(10, train_set.num_classes), train_set.shape[0], seed=seed)
    _say(f"{network.name}: {network.parameter_count:,} parameters; {train_set.name}: {len(train_set):,} images")
    trainer = mnistcnn.Trainer(
        network, batch_size=batch_size, optimizer=optimizer, seed=seed, engine=engine, threads=threads
    )
    for record in trainer.epochs(train_set, test_set, epochs=epochs):
        _say(str(record).replace("validation", "test"))
    result = mnistcnn.test(network, test_set, engine=engine, threads=threads, progress=False)
    network.save(target)
    if plot is not None:
        _save_curves(trainer.history, plot)
    if as_json:
        _print_json({**trainer.history.to_dict(), "data": test_set.name, "test": _scores(result), "file": str(target)})
    else:
        print(f"test set of {test_set.name}: {_sentence(result)}")
        print(f"saved as {target}; try: mnistcnn test {target}")


@app.command()
def test(
    file: Annotated[Path, typer.Argument(help="A saved model.")],
    data: DataOption = Data.auto,
    as_json: JsonOption = False,
) -> None:
    """Test a saved model: accuracy, every class, and the confusion matrix."""
    import mnistcnn

    model = mnistcnn.load_model(file)
    _, test_set = _load(data)
    result = mnistcnn.test(model, test_set)
    if as_json:
        _print_json({"model": model.name, "data": test_set.name, **_scores(result)})
        return
    print(f"{model.name} on the test set of {test_set.name}: {_sentence(result)}")
    columns = ["class", "images", "precision", "recall", "F1", *(f"-> {name}" for name in result.classes)]
    rows = [
        [
            score.name,
            str(score.count),
            *(f"{100 * value:.2f} %" for value in (score.precision, score.recall, score.f1)),
        ]
        + [str(count) if count else "." for count in result.confusion[i]]
        for i, score in enumerate(result.per_class)
    ]
    _print_table(columns, rows, left=1)


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help="For example 'session7*'.")] = "*",
    as_json: JsonOption = False,
) -> None:
    """List the published networks."""
    import mnistcnn

    names = mnistcnn.list_models(pattern)
    if not names:
        raise ValueError(f"no model fits {pattern!r}; there are: {', '.join(mnistcnn.list_models())}")
    networks = [mnistcnn.create_model(name) for name in names]
    summaries = [network.summary() for network in networks]
    if as_json:
        keys = ("parameters", "macs", "receptive_field")
        _print_json(
            [
                {"name": network.name, **{key: getattr(table, key) for key in keys}, "outputs": network.outputs}
                for network, table in zip(networks, summaries, strict=True)
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
        ]
        for network, table in zip(networks, summaries, strict=True)
    ]
    _print_table(["model", "parameters", "MACs", "receptive field", "outputs"], rows, left=1)


@app.command()
def summary(
    model: ModelArgument,
    as_json: JsonOption = False,
) -> None:
    """Show a network (or a saved model's file) layer by layer."""
    import mnistcnn

    is_file = model.endswith(".safetensors") or Path(model).is_file()
    table = (mnistcnn.load_model(model) if is_file else mnistcnn.create_model(model)).summary()
    if as_json:
        _print_json(
            {
                "name": table.name,
                "parameters": table.parameters,
                "macs": table.macs,
                "layers": table.to_dicts(),
            }
        )
    else:
        print(table)


def main() -> None:
    """Runs the command line; an error is one sentence and exit code 1 (2 for a wrong command)."""
    try:
        app()
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        sys.exit(141)
    except (ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        _say(f"mnistcnn: {error}")
        sys.exit(1)


def _check_targets(target: Path, plot: Path | None) -> None:
    """What can't be written is told before the work, not after it."""
    for path in (target, plot):
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"{path} is a folder; name a file in it")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"the folder {path.absolute().parent} does not exist")
        if not os.access(path.absolute().parent, os.W_OK):
            raise ValueError(f"the folder {path.absolute().parent} can't be written to")
    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--plot must name a .png, .svg or .pdf file, got {plot}")


def _check_engine(engine: str) -> None:
    from mnistcnn.model import ENGINES

    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}")


def _load(data: Data) -> tuple[ImageSet, ImageSet]:
    from mnistcnn import datasets

    if data is not Data.auto:
        return datasets.load(data.value)
    train_set, test_set, message = datasets.load_auto()
    if message:
        _say(message)
    return train_set, test_set


def _scores(result: Any) -> dict[str, Any]:
    return {
        "accuracy": result.accuracy,
        "loss": result.loss,
        "correct": result.correct,
        "count": result.count,
        "confusion": result.confusion.tolist(),
    }


def _sentence(result: Any) -> str:
    return f"accuracy {100 * result.accuracy:.2f} % ({result.correct:,} of {result.count:,}), loss {result.loss:.4f}"


def _save_curves(history: Any, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from mnistcnn import plot

    plot.curves(history).savefig(path, dpi=120)


def _print_table(columns: list[str], rows: list[list[str]], *, left: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    width = console.width if console.is_terminal else max(console.width, 200)  # a file has no edge
    Console(width=width).print(table)


def _print_json(values: Any) -> None:
    from mnistcnn.history import without_nan

    print(json.dumps(without_nan(values), indent=1, allow_nan=False))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
