"""``mnistcnn train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn.cli import interruption
from mnistcnn.cli.options import (
    PICTURES,
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
    check_target,
    load,
    network_for,
)
from mnistcnn.cli.output import print_json, save_picture, say, scores
from mnistcnn.cli.recipes import (
    BatchOption,
    EpochsOption,
    LrOption,
    MomentumOption,
    RecipeOption,
    ValidationOption,
    chosen_recipe,
    validation_part,
)

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
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
    save: Annotated[Path | None, typer.Option(help="Where to save the model; by default MODEL.safetensors.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A folder in which every epoch leaves a file.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the latest file in --checkpoint.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw the curves into this file (PNG, SVG, PDF).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a published network and test it. The test set is the data's own, and chooses nothing.

    Ctrl-C stops within a batch, and saves what was learnt so far. With --checkpoint DIR the same command with --resume
    goes on after the last whole epoch, and ends with the bits of a run that was never interrupted.
    """
    import mnistcnn

    if resume and checkpoint is None:
        raise typer.BadParameter("--resume needs the folder of the run: --checkpoint DIR")
    check_network(model)  # before any download
    target = save or Path(f"{model}.safetensors")
    check_target(target)
    check_target(plot, option="--plot", endings=PICTURES)
    check_engine(engine)
    made = chosen_recipe(model, recipe, epochs=epochs, batch_size=batch_size, lr=lr, momentum=momentum, seed=seed)
    train_set, test_set = load(data, images)
    network = network_for(model, train_set, seed)
    part = validation_part(made, validation)
    history = _trained(
        network,
        train_set,
        target,
        _Telling("test" if part is None else "validation"),
        recipe=made,
        validation=test_set if part is None else part,
        engine=engine,
        threads=threads,
        checkpoint=None if checkpoint is None else _checkpoints(checkpoint, keep_best=part is not None),
        resume=resume,
    )
    result = mnistcnn.test(network, test_set, engine=engine, threads=threads, progress=False)
    if not as_json:  # before anything is written: a full disk shall not hide it
        print(f"test set of {test_set.name}: {result.headline()}", flush=True)
    network.save(target)
    if not as_json:
        print(f"saved as {target}; try: mnistcnn test {target}")
    if plot is not None:
        save_picture(mnistcnn.plot.curves(history, evaluated="Test" if part is None else "Validation"), plot)
    if as_json:
        told = {"data": test_set.name, "test": scores(result), "recipe": made.to_dict(), "file": str(target)}
        print_json({**history.to_dict(), **told})


def _checkpoints(folder: Path, *, keep_best: bool) -> Checkpoint:
    """Keep the best epoch only by a validation set: the test set is never used for selection."""
    from mnistcnn.training.checkpoints import Checkpoint

    return Checkpoint(str(folder), keep_best=int(keep_best))


class _Telling:
    """Says every epoch as it ends."""

    def __init__(self, evaluated: str) -> None:
        self._evaluated = evaluated

    def on_epoch(self, record: EpochRecord) -> None:
        say(str(record).replace("validation", self._evaluated))


def _trained(network: Model, train_set: ImageSet, target: Path, telling: _Telling, **options: Any) -> History:
    """Trains; an interrupted run is saved before the interrupt goes on."""
    import mnistcnn

    try:
        return mnistcnn.train(network, train_set, callbacks=[telling], **options)
    except KeyboardInterrupt:
        done = 0 if network.history is None else len(network.history)
        network.save(target)
        say(f"interrupted after {done} whole epoch{'' if done == 1 else 's'}; what was learnt is saved as {target}")
        raise typer.Exit(interruption.status()) from None
