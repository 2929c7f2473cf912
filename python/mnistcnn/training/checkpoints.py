"""Checkpoints: the files that a run leaves after its epochs, and goes on from."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mnistcnn._internal.checks import choice, whole_number
from mnistcnn._internal.tensor_files import FileFormat, read_tensors, write_tensors
from mnistcnn._internal.values import Value
from mnistcnn.optim.schedules import JUDGES, merit
from mnistcnn.training.history import EpochRecord, History
from mnistcnn.training.snapshot import CheckpointWarning, Snapshot, model_of

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

_NAME = re.compile(r"epoch-(\d{6})\.safetensors")
_PART = re.compile(r"\.epoch-\d{6}\.safetensors\..*\.part")
FORMAT = FileFormat("mnistcnn checkpoint", 1, "run", "train(..., checkpoint=...)")


@dataclass(frozen=True, repr=False)
class Checkpoint(Value):
    """Where a run keeps its checkpoints, and which of them stay.

    Parameters
    ----------
    folder
        Made if it doesn't exist; one run per folder. Each file is ``epoch-000012.safetensors`` or the like.
    keep_last
        How many of the latest epochs stay. At least 2, so that a damaged file costs an epoch and not the run.
    keep_best
        How many of the best epochs stay besides, if there is a validation set.
    monitor
        What makes an epoch the best: "validation_accuracy" or "validation_loss".
    every
        After every how many epochs a checkpoint is written. The last epoch always gets one.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:200]
    >>> model = mnistcnn.create_model("budget_model3")
    >>> history = mnistcnn.train(model, data, epochs=3, checkpoint="run", resume=True, progress=False)
    >>> mnistcnn.Checkpoint("run").epochs
    [2, 3]
    >>> mnistcnn.Checkpoint("run").load("last").name
    'budget_model3'
    """

    folder: str
    keep_last: int = 2
    keep_best: int = 1
    monitor: str = "validation_accuracy"
    every: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike) or not str(self.folder):
            raise TypeError(f"checkpoint must name a folder, got {self.folder!r}")
        self._set("folder", str(os.fspath(self.folder)))
        self._set("keep_last", whole_number("keep_last", self.keep_last, least=2))
        self._set("keep_best", whole_number("keep_best", self.keep_best, least=0))
        self._set("every", whole_number("every", self.every))
        choice("monitor", self.monitor, JUDGES)

    @property
    def epochs(self) -> list[int]:
        """The epochs that lie in the folder."""
        return sorted(self._files())

    @property
    def history(self) -> History:
        """The history that the latest checkpoint tells."""
        return _history(self._existing())

    def load(self, which: int | Literal["best", "last"] = "best") -> Model:
        """The model after the best epoch (by validation), after the last one, or after an epoch given by its number.

        Where the run keeps averaged weights that its validations look at, the model has these.
        """
        snapshot = self._chosen(which)
        return model_of(self.path(snapshot.epoch), snapshot)

    def _chosen(self, which: Any) -> Snapshot:
        files = self._files()
        if files and which not in ("best", "last", *files):
            raise ValueError(f"there is no checkpoint of epoch {which!r}; there are 'best', 'last', {self.epochs}")
        if which in files:
            return self.read(int(which))
        latest = self._existing()
        if which == "last":
            return latest
        best = [number for number in ranked(_history(latest).epochs, self.monitor) if number in files]
        if not best:
            raise ValueError(f"the run in {self.folder} had no validation set, so that no epoch is its best")
        return latest if best[0] == latest.epoch else self.read(best[0])

    def _existing(self) -> Snapshot:
        snapshot = self.latest()
        if snapshot is None:
            raise FileNotFoundError(f"there is no checkpoint in {self.folder}")
        return snapshot

    # ---- what a run does with it

    def path(self, epoch: int) -> Path:
        """The file of an epoch."""
        return Path(self.folder) / f"epoch-{epoch:06d}.safetensors"

    def prepare(self, *, resume: bool) -> None:
        """Makes the folder and tries to write in it; refuses to mix two runs."""
        folder = Path(self.folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(f"checkpoint={self.folder!r} is a file; name a folder") from None
        except OSError as error:
            raise OSError(f"the folder {folder} for checkpoints can't be made: {error.strerror or error}") from error
        if self._files() and not resume:
            raise FileExistsError(
                f"{folder} holds the checkpoints of a run of {self.epochs[-1]} epochs; go on with resume=True, or name "
                "another folder"
            )
        trial = folder / f".epoch-000000.safetensors.{os.getpid()}.part"
        try:
            trial.write_bytes(b"")
            trial.unlink()
        except OSError as error:
            raise OSError(f"nothing can be written into {folder}: {error.strerror or error}") from error
        for left in folder.iterdir():
            if _PART.fullmatch(left.name):  # of a run that was killed while it wrote
                left.unlink(missing_ok=True)

    def latest(self) -> Snapshot | None:
        """The latest epoch that can be read; None if there is no file at all."""
        numbers = sorted(self._files(), reverse=True)
        for number in numbers:
            try:
                return self.read(number)
            except OSError as error:
                warnings.warn(f"{error}; the checkpoint before it is used", CheckpointWarning, stacklevel=2)
        if numbers:
            raise OSError(f"every checkpoint in {self.folder} is damaged: there is nothing to go on from")
        return None

    def read(self, epoch: int) -> Snapshot:
        """One file."""
        description, tensors = read_tensors(self.path(epoch), FORMAT)
        return Snapshot(epoch, description, tensors)

    def write(self, snapshot: Snapshot, records: Sequence[EpochRecord]) -> None:
        """One file; then those that are no longer wanted go. An earlier one stays whole whatever happens."""
        path = self.path(snapshot.epoch)
        try:
            write_tensors(path, FORMAT, snapshot.description, snapshot.tensors)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            message = f"the checkpoint {path} could not be written ({reason}); earlier ones are whole"
            raise OSError(error.errno, message) from error
        best = [number for number in ranked(records, self.monitor) if number in self._files()]
        kept = {*self.epochs[-self.keep_last :], *best[: self.keep_best]}
        for number, file in self._files().items():
            if number not in kept:
                file.unlink(missing_ok=True)

    def _files(self) -> dict[int, Path]:
        with suppress(FileNotFoundError, NotADirectoryError):
            found = ((_NAME.fullmatch(path.name), path) for path in Path(self.folder).iterdir())
            return {int(match[1]): path for match, path in found if match}
        return {}


def ranked(records: Sequence[EpochRecord], monitor: str) -> list[int]:
    """The numbers of the epochs, the best first and of equals the earlier; without a validation set there are none."""
    values = [(getattr(record, monitor), record.epoch) for record in records]
    judged = [(-merit(monitor, value), epoch) for value, epoch in values if value is not None]
    return [epoch for _, epoch in sorted(judged)]


def _history(snapshot: Snapshot) -> History:
    step_losses = snapshot.tensors["step_losses"].tolist()
    return History.from_dict({**snapshot.description["history"], "step_losses": step_losses})
