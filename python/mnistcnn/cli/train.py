"""Command ``mnistcnn train``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn._internal.tables import counted
from mnistcnn.cli import interruption
from mnistcnn.cli.model_files import check_model_path, check_new, interrupted_name, save_model
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
    NO_CHANGES,
    RecipeChanges,
    RecipeOption,
    ValidationOption,
    recipe_from_options,
    validation_fraction,
    with_recipe_options,
)

if TYPE_CHECKING:
    from mnistcnn.cli.best_epoch import BestEpoch
    from mnistcnn.cli.epoch_tests import EpochTests
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.evaluation.results import TestResult
    from mnistcnn.nn.model import Model
    from mnistcnn.training.history import EpochRecord, History


@with_recipe_options
def train(
    model: ModelArgument = "session7_net",
    data: DataOption = Data.auto,
    images: ImagesOption = None,
    recipe: RecipeOption = None,
    validation: ValidationOption = None,
    changes: RecipeChanges = NO_CHANGES,
    seed: SeedOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="File to save the model to; it must not exist. Default: MODEL.safetensors, or MODEL-2.safetensors and "
            "so on if that exists."
        ),
    ] = None,
    save_best: Annotated[
        Path | None,
        typer.Option(
            help="File to save the model of the epoch with the best validation accuracy to. Requires --validation."
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
    """Train a built-in network and test it. The test set is never used for model selection.

    Ctrl-C stops training within one batch and saves the model with "-interrupted" added to the file name. With
    --checkpoint DIR, repeat the command with --resume to continue after the last complete epoch; the result is
    bit-identical to that of an uninterrupted run.
    """
    import mnistcnn

    if resume and checkpoint is None:
        raise typer.BadParameter("--resume requires the directory of the checkpoints: --checkpoint DIR")
    check_network(model)  # before any download
    files = _Files(save or Path(f"{model}.safetensors"), save_best, overwrite)
    files.check(named=save is not None)
    check_writable(plot, option="--plot", endings=FIGURE_SUFFIXES)
    check_engine(engine)
    run_recipe = recipe_from_options(model, recipe, changes, seed=seed)
    part = validation_fraction(run_recipe, validation)
    if save_best is not None and part is None:
        raise typer.BadParameter("it requires a validation set: --validation 0.1", param_hint="'--save-best'")
    train_set, test_set = load(data, images)
    network = create_network(model, train_set, run_recipe.seed)
    best = _best_epoch(save_best)
    tested = _epoch_tests(test_set, engine, threads) if part is None else None
    history, result = _train_and_test(
        network,
        (train_set, test_set),
        files,
        best,
        tested,
        callbacks=[tested or _EpochPrinter(), *([] if best is None else [best])],
        recipe=run_recipe,
        validation=part,
        engine=engine,
        threads=threads,
        checkpoint=checkpoint,
        resume=resume,
    )
    if not as_json:  # before the model is written, which can fail if the disk is full
        print(f"test set of {test_set.name}: {result.headline()}", flush=True)
    saved = files.save(network, best, complete=True)
    if not as_json:
        for name, path in saved.items():
            print(f"{name} saved to {path}{_kept(files, path)}; to test it: mnistcnn test {path}")
    history = history if tested is None else tested.add_to(history)
    evaluated = "validation" if tested is None else "test"
    if plot is not None:
        save_figure(mnistcnn.plot.curves(history, evaluated=evaluated.capitalize()), plot)
    if as_json:
        paths = [str(path) for path in saved.values()]
        report = {"data": test_set.name, "test": scores(result), "recipe": run_recipe.to_dict(), "file": paths[0]}
        if best is not None:
            report["best"] = {"epoch": best.epoch, "file": paths[-1]}
        print_json({**_history(history, evaluated), **report})


def _history(history: History, evaluated: str) -> dict[str, Any]:
    """Return the history as plain values, with ``test_accuracy`` and ``test_loss`` if the test set was evaluated."""
    values = history.to_dict()
    values["epochs"] = [
        {name.replace("validation", evaluated): value for name, value in record.items()} for record in values["epochs"]
    ]
    return values


@dataclass(frozen=True)
class _Files:
    """Files to which the models of a run are saved: after the last epoch, and of the best epoch."""

    last: Path
    best: Path | None
    overwrite: bool

    def check(self, *, named: bool) -> None:
        """Raise typer.BadParameter unless the files can be written; ``named`` means that the user gave --save."""
        check_model_path(self.last, option="--save")
        check_model_path(self.best, option="--save-best")
        check_new(self.last if named else None, option="--save", overwrite=self.overwrite)
        check_new(self.best, option="--save-best", overwrite=self.overwrite)
        if self.best is not None and self.best.resolve() == self.last.resolve():
            raise typer.BadParameter(f"it must differ from the file of --save, {self.last}", param_hint="'--save-best'")

    def save(
        self, network: Model, best: BestEpoch | None, *, complete: bool, diverged: bool = False
    ) -> dict[str, Path]:
        """Save the models, and return their files by a description. If the run is incomplete, the names say so.

        If the run has diverged, only the model of the best epoch is saved.
        """
        named = [] if diverged else [("model", network, self.last)]
        model = None if best is None else best.model(network)
        if best is not None and model is not None and self.best is not None:
            named.append((f"model of epoch {best.epoch}, the best by validation accuracy,", model, self.best))
        if complete:
            return {name: save_model(each, path, overwrite=self.overwrite) for name, each, path in named}
        return {name: save_model(each, interrupted_name(path)) for name, each, path in named}


def _kept(files: _Files, path: Path) -> str:
    """Return a remark if a numbered name was used because a file of the name without a number exists."""
    if path in (files.last, files.best):
        return ""
    return f" ({path.with_stem(path.stem.rpartition('-')[0])} already exists and was kept)"


def _best_epoch(file: Path | None) -> BestEpoch | None:
    from mnistcnn.cli.best_epoch import BestEpoch

    return None if file is None else BestEpoch()


def _epoch_tests(test_set: ImageSet, engine: str, threads: int | None) -> EpochTests:
    from mnistcnn.cli.epoch_tests import EpochTests

    return EpochTests(test_set, engine=engine, threads=threads)


class _EpochPrinter:
    """Callback that prints each epoch to stderr."""

    def on_epoch(self, record: EpochRecord) -> None:
        print_message(str(record))


def _train_and_test(
    network: Model,
    sets: tuple[ImageSet, ImageSet],
    files: _Files,
    best: BestEpoch | None,
    tested: EpochTests | None,
    *,
    engine: str,
    threads: int | None,
    **options: Any,
) -> tuple[History, TestResult]:
    """Train and test the network. If interrupted, save it and raise typer.Exit. After an error, save it too."""
    import mnistcnn

    trained = False
    try:
        history = mnistcnn.train(network, sets[0], engine=engine, threads=threads, **options)
        trained = True
        if tested is not None:
            return history, tested.final(network)
        return history, mnistcnn.test(network, sets[1], engine=engine, threads=threads, progress=False)
    except KeyboardInterrupt:
        done = 0 if network.history is None else len(network.history)
        saved = files.save(network, best, complete=trained)
        texts = "; ".join(f"{name} saved to {path}" for name, path in saved.items())
        print_message(f"interrupted after {counted(done, 'complete epoch')}; {texts}")
        raise typer.Exit(interruption.exit_code()) from None
    except (mnistcnn.DivergedError, OSError) as error:  # OSError: for example a full disk for checkpoints
        if network.history:
            with suppress(OSError):
                diverged = isinstance(error, mnistcnn.DivergedError)
                for name, path in files.save(network, best, complete=trained, diverged=diverged).items():
                    print_message(f"{name} saved to {path}")
        raise
