"""Commands ``mnistcnn check``, ``mnistcnn report`` and ``mnistcnn new``: the assignment of the course."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistcnn.cli.options import (
    Data,
    DataOption,
    EngineOption,
    ImagesOption,
    JsonOption,
    check_engine,
    check_percentage,
    check_writable,
    load,
)
from mnistcnn.cli.output import print_message, print_result
from mnistcnn.cli.recipes import EpochsOption, recipe_from_options

if TYPE_CHECKING:
    from mnistcnn.training.recipes import Recipe

SeedsOption = Annotated[int, typer.Option(min=1, help="Number of training runs, with the seeds 0, 1, ...")]
RecipeFileOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Recipe: JSON file that Recipe.to_json wrote. Default: the attribute `recipe` of the class, otherwise "
        "Recipe(); the published recipe of a published network.",
    ),
]
TimeLimitOption = Annotated[
    float, typer.Option("--time-limit", min=1, help="Seconds to import the file and to create the network.")
]


def check(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Network: file.py:Class, or the name of a published network.")
    ],
    max_parameters: Annotated[int, typer.Option(min=1, help="Largest number of parameters.")] = 8000,
    require: Annotated[
        str, typer.Option(help="Features that the network must have: batchnorm, dropout, gap, linear.")
    ] = "batchnorm,dropout,gap",
    forbid: Annotated[str, typer.Option(help="Features that the network must not have.")] = "",
    epochs: Annotated[int, typer.Option(min=1, help="Largest number of epochs; a longer recipe is shortened.")] = 15,
    accuracy: Annotated[
        float,
        typer.Option(
            "--target",
            min=0,
            max=100,
            callback=check_percentage,
            help="Accuracy in % that each of the last epochs must reach.",
        ),
    ] = 99.4,
    last: Annotated[int, typer.Option(min=1, help="Number of last epochs that must reach the target.")] = 3,
    seeds: SeedsOption = 1,
    data: DataOption = Data.mnist,
    images: ImagesOption = None,
    recipe: RecipeFileOption = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Train, or check the structure only.")] = True,
    engine: EngineOption = "auto",
    time_limit: TimeLimitOption = 60,
    summary: Annotated[
        Path | None, typer.Option(help="Append the table in Markdown to this file, such as $GITHUB_STEP_SUMMARY.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the requirements of the course's assignment.

    These are the number of parameters, the layers, and the accuracy of the last epochs. The layers are read from the
    graph of `forward`. Then the network is trained, and tested after each epoch. The test accuracies are only reported,
    and never used for model selection. Exit codes: 0 all requirements are met; 1 a requirement is not met, or an error
    such as a failed download; 2 invalid option, or a file that cannot be imported.
    """
    from mnistcnn.course.assignment import Assignment, check_network
    from mnistcnn.course.networks import is_class_reference, network_of

    check_engine(engine)
    check_writable(summary, option="--summary", replaced=False)
    goal = accuracy / 100 if train else None
    with usage_errors():
        assignment = Assignment(max_parameters, _names(require), _names(forbid), epochs, goal, last)
        network = network_of(target, time_limit=time_limit)
        run_recipe = read_recipe(target, recipe) or network.recipe
        if train:
            assignment.recipe(run_recipe)
    train_set, test_set = load(data, images) if train else (None, None)
    if not is_class_reference(target):
        network = network_of(target, train_set)  # with the classes of the data set
    result = check_network(network, assignment, train_set, test_set, run_recipe, seeds=seeds, engine=engine)
    print_result(result, as_json=as_json)
    if summary is not None:
        with summary.open("a", encoding="utf-8") as file:
            file.write(result.to_markdown())
    if not result.passed:
        raise typer.Exit(1)


def report(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="Steps: file.py:Class, in their order.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; pictures are put beside it.")] = Path(
        "README.md"
    ),
    epochs: EpochsOption = None,
    seeds: SeedsOption = 1,
    data: DataOption = Data.mnist,
    images: ImagesOption = None,
    recipe: RecipeFileOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Directory of checkpoints: runs are saved to it, resumed from it, or read if complete."),
    ] = None,
    engine: EngineOption = "auto",
    time_limit: TimeLimitOption = 60,
) -> None:
    """Train the steps of the assignment. Writes a README about them.

    It holds target, result and analysis of each step, layers with receptive fields, training log, curves, mistakes and
    Grad-CAM. With several seeds, the steps are compared. Target and analysis are read from the docstrings of the
    classes. The test accuracies are only reported, and never used for model selection.
    """
    import shlex
    import sys

    from mnistcnn.course.assignment import check_recipe
    from mnistcnn.course.networks import network_of
    from mnistcnn.course.report import check_report_path, run_step, write_report

    check_engine(engine)
    check_report_path(output)
    steps = []
    with usage_errors():
        for target in targets:
            network = network_of(target, time_limit=time_limit)
            step_recipe = read_recipe(target, recipe) or network.recipe
            check_recipe(step_recipe)
            steps.append((network, step_recipe if epochs is None else step_recipe.replace(epochs=epochs)))
    names = [network.model.name for network, _ in steps]
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"the names of the steps must be different, got {', '.join(names)}")
    train_set, test_set = load(data, images)
    done = []
    for name, (network, step_recipe) in zip(names, steps, strict=True):
        print_message(f"{name}: {seeds} x {step_recipe.epochs} epochs on {len(train_set):,} images of {train_set.name}")
        done.append(
            run_step(
                name, network, step_recipe, train_set, test_set, seeds=seeds, checkpoints=checkpoint, engine=engine
            )
        )
    command = shlex.join(["mnistcnn", *sys.argv[1:]])
    about = f"{train_set.name}, {len(train_set):,} images for training and {len(test_set):,} for the test"
    for path in write_report(output, done, test_set, command=command, data=about):
        print(f"written: {path}")


def new(
    directory: Annotated[Path, typer.Argument(help="Directory of the project; it is created.")],
) -> None:
    """Write a project for the course's assignment.

    It has a model.py with three steps, a training script, a notebook, and a workflow for CI. An existing file is never
    overwritten.
    """
    from mnistcnn.course.project import create_project

    for path in create_project(directory):
        print(f"written: {path}")
    print_message(
        f"next: cd {directory}; python train.py Model_1; mnistcnn check model.py:Model_3 --no-train; "
        "mnistcnn check --help"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def usage_errors() -> Iterator[None]:
    """Raise typer.BadParameter for errors of the block, so that the exit code is 2."""
    try:
        yield
    except (OSError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


def read_recipe(target: str, recipe: str | None) -> Recipe | None:
    """Return the recipe that an option selects, or None for that of the network."""
    if recipe is None:
        return None
    from mnistcnn.course.networks import is_class_reference

    if is_class_reference(target) and not recipe.endswith(".json"):
        raise ValueError(f"--recipe must be a JSON file for a class of a file, got {recipe!r}")
    return recipe_from_options(target, recipe)
