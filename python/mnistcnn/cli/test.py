"""``mnistcnn test`` and ``mnistcnn predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn.cli.options import (
    PICTURES,
    Data,
    DataOption,
    JsonOption,
    check_target,
    load,
)
from mnistcnn.cli.output import print_json, print_table, save_picture, say, scores

if TYPE_CHECKING:
    import numpy as np

    from mnistcnn.evaluation.results import TestResult
    from mnistcnn.nn.model import Model

_WANTED = Path("session7_net.safetensors")


def test(
    file: Annotated[Path, typer.Argument(help="A saved model.")],
    data: DataOption = Data.auto,
    plot: Annotated[Path | None, typer.Option(help="Draw the confusion matrix into this file.")] = None,
    mistakes: Annotated[Path | None, typer.Option(help="Draw the surest mistakes into this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Test a saved model: accuracy, classes, confusion matrix."""
    import mnistcnn

    check_target(plot, option="--plot", endings=PICTURES)
    check_target(mistakes, option="--mistakes", endings=PICTURES)
    model = mnistcnn.load_model(file)
    _, test_set = load(data)
    result = mnistcnn.test(model, test_set)
    if plot is not None:
        save_picture(mnistcnn.plot.confusion(result), plot)
    if mistakes is not None:
        save_picture(mnistcnn.plot.mistakes(result, test_set, count=20), mistakes)
    if as_json:
        print_json({"model": model.name, "data": test_set.name, **scores(result), **_more(result)})
        return
    print(f"{model.name} on the test set of {test_set.name}: {result.headline()}")
    print_table(["class", "images", "precision", "recall", "F1"], _class_rows(result), left=1)
    print("How many of a class (a row) the model took for which (a column):")
    print_table(["", *result.classes], _confusion_rows(result), left=1)
    print(f"expected calibration error {100 * result.calibration().expected_error:.2f} %")


def _class_rows(result: TestResult) -> list[list[str]]:
    return [
        [each.name, f"{each.count:,}", *(f"{100 * value:.2f} %" for value in (each.precision, each.recall, each.f1))]
        for each in result.per_class
    ]


def _confusion_rows(result: TestResult) -> list[list[str]]:
    return [
        [name, *(str(count) if count else "." for count in row)]
        for name, row in zip(result.classes, result.confusion, strict=True)
    ]


def predict(
    images: Annotated[list[Path], typer.Argument(help="Pictures of one digit each: PNG, JPEG, ... of any size.")],
    model: Annotated[Path, typer.Option(help="The file of a saved model.")] = _WANTED,
    save: Annotated[Path | None, typer.Option(help="Draw what the model saw, 28x28, into this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which digit each picture shows, and how surely.

    Pictures are prepared as MNIST's makers did: ink bright on black, scaled into 20x20, centred by its mass in 28x28.
    """
    import mnistcnn
    from mnistcnn.data.digitize import repeated

    check_target(save, option="--save", endings=PICTURES)
    network = _loaded(model)
    digits, failures = _digits(images, network)
    if not digits:
        raise typer.Exit(1)
    pixels = repeated([digit for _, digit in digits], network.input_shape[0])
    probabilities = mnistcnn.predict(network, pixels)
    answers = probabilities.argmax(axis=1)
    if save is not None:
        names = [f"{answer}: {path.name}" for (path, _), answer in zip(digits, answers, strict=True)]
        save_picture(mnistcnn.plot.images(pixels, labels=names, count=len(names), columns=5), save)
    rows = [
        {"file": str(path), "prediction": int(answer), "probabilities": [round(float(each), 6) for each in row]}
        for (path, _), answer, row in zip(digits, answers, probabilities, strict=True)
    ]
    if as_json:
        print_json(rows)
    else:
        _print_predictions(rows, network.num_classes)
    if failures:
        raise typer.Exit(1)


def _loaded(file: Path) -> Model:
    import mnistcnn

    if not file.exists() and file == _WANTED:
        raise FileNotFoundError(f"there is no {file} here; `mnistcnn train` makes it, or name one with --model")
    return mnistcnn.load_model(file)


def _digits(images: list[Path], network: Model) -> tuple[list[tuple[Path, np.ndarray[Any, Any]]], int]:
    """Every picture that can be read; the others are told one by one."""
    from mnistcnn.data.digitize import SIDE, as_digit

    if network.input_shape[1:] != (SIDE, SIDE) or network.input_shape[0] not in (1, 3):
        raise ValueError(f"model '{network.name}' takes images {network.input_shape}, pictures become {SIDE}x{SIDE}")
    found, failures = [], 0
    for path in images:
        try:
            found.append((path, as_digit(path)))
        except (OSError, ValueError) as error:
            say(f"mnistcnn: {error}")
            failures += 1
    return found, failures


def _print_predictions(rows: list[dict[str, Any]], classes: int) -> None:
    columns = ["picture", "digit", *map(str, range(classes))]
    cells = [
        [row["file"], str(row["prediction"]), *(f"{100 * each:.1f}" for each in row["probabilities"])] for row in rows
    ]
    print_table(columns, cells, left=1)
    print("Below the digits: how probable each is, in %.")


def _more(result: Any) -> dict[str, Any]:
    return {
        "expected_calibration_error": result.calibration().expected_error,
        "classes": [
            {"name": each.name, "precision": each.precision, "recall": each.recall, "f1": each.f1, "count": each.count}
            for each in result.per_class
        ],
    }
