"""Commands ``mnistcnn test`` and ``mnistcnn predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn._internal.tables import percent
from mnistcnn.cli.options import (
    FIGURE_SUFFIXES,
    TRAINED_OR_DEFAULT,
    Data,
    DataOption,
    JsonOption,
    TrainedModel,
    check_distinct,
    check_writable,
    load,
    load_trained,
)
from mnistcnn.cli.output import print_json, print_message, print_table, save_figure, scores

if TYPE_CHECKING:
    import numpy as np

    from mnistcnn.evaluation.results import TestResult
    from mnistcnn.nn.model import Model


def test(
    model: TrainedModel,
    data: DataOption = Data.auto,
    plot: Annotated[Path | None, typer.Option(help="Write a plot of the confusion matrix to this file.")] = None,
    mistakes: Annotated[
        Path | None, typer.Option(help="Write a plot of the mistakes with the highest confidence to this file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Test a saved model, or a network with pretrained weights.

    Prints accuracy, scores per class and the confusion matrix.
    """
    import mnistcnn

    check_writable(plot, option="--plot", endings=FIGURE_SUFFIXES)
    check_writable(mistakes, option="--mistakes", endings=FIGURE_SUFFIXES)
    check_distinct({"--plot": plot, "--mistakes": mistakes})
    network = load_trained(model)
    _, test_set = load(data)
    result = mnistcnn.test(network, test_set)
    if as_json:
        print_json({"model": network.name, "data": test_set.name, **scores(result), **_details(result)})
    else:
        _print_scores(network.name, result, test_set.name)
    if plot is not None:
        save_figure(mnistcnn.plot.confusion(result), plot)
    if mistakes is not None:
        save_figure(mnistcnn.plot.mistakes(result, test_set, count=20), mistakes)


def _print_scores(model: str, result: TestResult, data: str) -> None:
    print(f"{model} on the test set of {data}: {result.headline()}")
    print_table(["class", "images", "precision", "recall", "F1"], _class_rows(result), left=1)
    print("Confusion matrix (rows: true class, columns: predicted class):")
    print_table(["", *result.classes], _confusion_rows(result), left=1)
    print(f"expected calibration error {percent(result.calibration().expected_error)}", flush=True)


def _class_rows(result: TestResult) -> list[list[str]]:
    return [
        [each.name, f"{each.count:,}", *(percent(value) for value in (each.precision, each.recall, each.f1))]
        for each in result.per_class
    ]


def _confusion_rows(result: TestResult) -> list[list[str]]:
    return [
        [name, *(str(count) if count else "." for count in row)]
        for name, row in zip(result.classes, result.confusion, strict=True)
    ]


def predict(
    images: Annotated[
        list[Path], typer.Argument(help="Image files (PNG, JPEG, ...) of any size that show one digit each.")
    ],
    model: Annotated[str | None, typer.Option(help=TRAINED_OR_DEFAULT)] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write a plot of the 28x28 inputs of the model to this file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Classify images of single digits. Prints the prediction and the probability of each class.

    Images are preprocessed as in MNIST: white digit on black, scaled to 20x20, centred by centre of mass in 28x28.
    """
    import mnistcnn
    from mnistcnn.data.digitize import repeated
    from mnistcnn.nn.class_names import class_names

    check_writable(save, option="--save", endings=FIGURE_SUFFIXES)
    network = load_trained(model)
    digits, failures = _digits(images, network)
    if not digits:
        raise typer.Exit(1)
    pixels = repeated([digit for _, digit in digits], network.input_shape[0])
    probabilities = mnistcnn.predict(network, pixels)
    answers, classes = probabilities.argmax(axis=1), class_names(network)
    if save is not None:
        names = [f"{classes[answer]}: {path.name}" for (path, _), answer in zip(digits, answers, strict=True)]
        save_figure(mnistcnn.plot.images(pixels, labels=names, count=len(names), columns=5), save)
    rows = [
        {
            "file": str(path),
            "prediction": int(answer),
            "class": classes[answer],
            "probabilities": [round(float(each), 6) for each in row],
        }
        for (path, _), answer, row in zip(digits, answers, probabilities, strict=True)
    ]
    if as_json:
        print_json(rows)
    else:
        _print_predictions(rows, classes)
    if failures:
        raise typer.Exit(1)


def _digits(images: list[Path], network: Model) -> tuple[list[tuple[Path, np.ndarray[Any, Any]]], int]:
    """Read the image files. Return the digits, and the number of files that could not be read.

    An error is printed for each file that could not be read.
    """
    from mnistcnn.data.digitize import SIDE, as_digit

    if network.input_shape[1:] != (SIDE, SIDE) or network.input_shape[0] not in (1, 3):
        raise ValueError(
            f"model '{network.name}' must accept {SIDE}x{SIDE} images with 1 or 3 channels, but its input shape is "
            f"{network.input_shape}"
        )
    found, failures = [], 0
    for path in images:
        try:
            found.append((path, as_digit(path)))
        except (OSError, ValueError) as error:
            print_message(f"mnistcnn: {error}")
            failures += 1
    return found, failures


def _print_predictions(rows: list[dict[str, Any]], classes: tuple[str, ...]) -> None:
    if len(classes) > _COLUMNS:
        print_table(["file", "class", "highest probabilities in %"], [_likeliest(row, classes) for row in rows], left=3)
        return
    cells = [[row["file"], row["class"], *(f"{100 * each:.1f}" for each in row["probabilities"])] for row in rows]
    print_table(["file", "class", *classes], cells, left=1)
    print(f"Columns {classes[0]} to {classes[-1]}: probability of each class in %.")


_COLUMNS = 12  # largest number of classes of which each has a column


def _likeliest(row: dict[str, Any], classes: tuple[str, ...]) -> list[str]:
    ranked = sorted(zip(row["probabilities"], classes, strict=True), reverse=True)[:5]
    return [row["file"], row["class"], ", ".join(f"{name} {100 * each:.1f}" for each, name in ranked)]


def _details(result: Any) -> dict[str, Any]:
    return {
        "expected_calibration_error": result.calibration().expected_error,
        "classes": [
            {"name": each.name, "precision": each.precision, "recall": each.recall, "f1": each.f1, "count": each.count}
            for each in result.per_class
        ],
    }
