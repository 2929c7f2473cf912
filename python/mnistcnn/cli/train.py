"""Command ``mnistcnn train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn.cli import interruption
from mnistcnn.cli.model_files import check_new, interrupted_name, save_model
from mnistcnn.cli.options import (
    FIGURE_SUFFIXES,
    Data,
    DataOption,
    EngineOption,
    ImagesOption,
    JsonOption,
    ModelArgument,
    SeedOption,
    ThreadsOption,
    check_engine,
    check_network,
    check_writable,
    create_network,
    load,
)
from mnistcnn.cli.output import print_json, print_message, save_figure, scores
from mnistcnn.cli.recipes import (
    BatchOption,
    EpochsOption,
    LrOption,
    MomentumOption,
    RecipeOption,
    ValidationOption,
    recipe_from_options,
    validation_fraction,
)

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.evaluation.results import TestResult
    from mnistcnn.nn.model import Model
    from mnistcnn.training.checkpoints import Checkpoint
    from mnistcnn.training.history import EpochRecord, History


def train(
    model: ModelArgument = "session7_net",
    data: DataOption = Data.auto,
    images: ImagesOption = None,
    recipe: RecipeOption = None,
    validation: ValidationOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchOption = None,
    lr: LrOption = None,
    momentum: MomentumOption = None,
    seed: SeedOption = 0,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="File to save the model to; it must not exist. Default: MODEL.safetensors, or MODEL-2.safetensors and "
            "so on if that exists."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file of a model. Without it, none is replaced.")
    ] = False,
    checkpoint: Annotated[Path | None, typer.Option(help="Directory to save a checkpoint to after each epoch.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the latest checkpoint in --checkpoint.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Write a plot of the loss and accuracy curves to this file (PNG, SVG, PDF).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a published network and test it. The test set is never used for model selection.

    Ctrl-C stops training within one batch and saves the model as MODEL-interrupted.safetensors. With --checkpoint DIR,
    repeat the command with --resume to continue after the last complete epoch; the result is bit-identical to that of
    an uninterrupted run.
    """
    import mnistcnn

    if resume and checkpoint is None:
        raise typer.BadParameter("--resume requires the directory of the checkpoints: --checkpoint DIR")
    check_network(model)  # before any download
    target = save or Path(f"{model}.safetensors")
    check_writable(target, option="--save")
    check_new(save, option="--save", overwrite=overwrite)
    check_writable(plot, option="--plot", endings=FIGURE_SUFFIXES)
    check_engine(engine)
    run_recipe = recipe_from_options(
        model, recipe, epochs=epochs, batch_size=batch_size, lr=lr, momentum=momentum, seed=seed
    )
    train_set, test_set = load(data, images)
    network = create_network(model, train_set, seed)
    part = validation_fraction(run_recipe, validation)
    history, result = _train_and_test(
        network,
        (train_set, test_set),
        target,
        _EpochPrinter("test" if part is None else "validation"),
        overwrite=overwrite,
        recipe=run_recipe,
        validation=test_set if part is None else part,
        engine=engine,
        threads=threads,
        checkpoint=None if checkpoint is None else _checkpoint(checkpoint, keep_best=part is not None),
        resume=resume,
    )
    if not as_json:  # before the model is written, which can fail if the disk is full
        print(f"test set of {test_set.name}: {result.headline()}", flush=True)
    saved = save_model(network, target, overwrite=overwrite)
    if not as_json:
        kept = "" if saved == target else f" ({target} already exists and was kept)"
        print(f"model saved to {saved}{kept}; to test it: mnistcnn test {saved}")
    if plot is not None:
        save_figure(mnistcnn.plot.curves(history, evaluated="Test" if part is None else "Validation"), plot)
    if as_json:
        report = {"data": test_set.name, "test": scores(result), "recipe": run_recipe.to_dict(), "file": str(saved)}
        print_json({**history.to_dict(), **report})


def _checkpoint(folder: Path, *, keep_best: bool) -> Checkpoint:
    """Return a Checkpoint. The best epoch is kept only if there is a validation set, never by test accuracy."""
    from mnistcnn.training.checkpoints import Checkpoint

    return Checkpoint(str(folder), keep_best=int(keep_best))


class _EpochPrinter:
    """Callback that prints each epoch to stderr."""

    def __init__(self, evaluated: str) -> None:
        self._evaluated = evaluated

    def on_epoch(self, record: EpochRecord) -> None:
        print_message(str(record).replace("validation", self._evaluated))


def _train_and_test(
    network: Model,
    sets: tuple[ImageSet, ImageSet],
    target: Path,
    printer: _EpochPrinter,
    *,
    overwrite: bool,
    engine: str,
    threads: int | None,
    **options: Any,
) -> tuple[History, TestResult]:
    """Train and test the network. If interrupted, save it and raise typer.Exit.

    A file name that contains "interrupted" means that the training is incomplete.
    """
    import mnistcnn

    trained = False
    try:
        history = mnistcnn.train(network, sets[0], callbacks=[printer], engine=engine, threads=threads, **options)
        trained = True
        return history, mnistcnn.test(network, sets[1], engine=engine, threads=threads, progress=False)
    except KeyboardInterrupt:
        done = 0 if network.history is None else len(network.history)
        name = target if trained else interrupted_name(target)
        saved = save_model(network, name, overwrite=overwrite and trained)
        print_message(f"interrupted after {done} complete epoch{'' if done == 1 else 's'}; model saved to {saved}")
        raise typer.Exit(interruption.exit_code()) from None
