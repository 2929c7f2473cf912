"""Checkpoints of a run: files written after its epochs, from which it can be resumed."""

from __future__ import annotations

import copy
import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mnistcnn._internal.atomic_files import remove_parts
from mnistcnn._internal.checks import choice, whole_number
from mnistcnn._internal.locks import FolderLock
from mnistcnn._internal.tensor_files import FileFormat, read_tensors, write_tensors
from mnistcnn._internal.values import Value
from mnistcnn.optim.schedules import VALIDATION_METRICS, score
from mnistcnn.training.history import EpochRecord, History
from mnistcnn.training.snapshot import CheckpointWarning, Snapshot, checked_snapshot, model_of

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

_NAME = re.compile(r"epoch-(\d{6})\.safetensors")
FORMAT = FileFormat("mnistcnn checkpoint", 1, "run", "train(..., checkpoint=...)")


@dataclass(frozen=True, repr=False)
class Checkpoint(Value):
    """Checkpoint directory of a run, and options of its retention.

    A file such as ``epoch-000012.safetensors`` holds the state of the run after an epoch.

    Parameters
    ----------
    folder
        Directory of the checkpoints. It is created if it does not exist. Use one directory per run: a second run in it
        raises BlockingIOError while the first one trains. A relative path is made absolute when training starts.
    keep_last
        Number of latest checkpoints to keep, at least 2: if the latest file is damaged, the previous one is used.
    keep_best
        Number of best checkpoints to keep in addition, if there is a validation set.
    monitor
        Result that ranks the epochs: ``"validation_accuracy"`` or ``"validation_loss"``.
    every
        Number of epochs between two checkpoints. A checkpoint is always saved after the last epoch.

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
            raise TypeError(f"checkpoint must be the path of a directory, got {self.folder!r}")
        self._set("folder", str(os.fspath(self.folder)))
        self._set("keep_last", whole_number("keep_last", self.keep_last, minimum=2))
        self._set("keep_best", whole_number("keep_best", self.keep_best, minimum=0))
        self._set("every", whole_number("every", self.every))
        choice("monitor", self.monitor, VALIDATION_METRICS)

    @property
    def epochs(self) -> list[int]:
        """Numbers of the epochs with a checkpoint in the directory, in increasing order."""
        return sorted(self._files())

    @property
    def history(self) -> History:
        """History in the latest readable checkpoint. Raise FileNotFoundError if there is none."""
        return self._latest_or_raise().history

    def load(self, which: int | Literal["best", "last"] = "best") -> Model:
        """Return the model of a checkpoint.

        If the run averages weights and validates with the averages, the model has the averaged weights.

        Parameters
        ----------
        which
            ``"best"`` by validation result, ``"last"``, or the number of an epoch in ``epochs``. If the checkpoint of
            the best epoch was not kept, the best one in the directory is loaded, with a `CheckpointWarning`.

        Raises
        ------
        FileNotFoundError
            If the directory holds no checkpoint.
        ValueError
            If there is no checkpoint of this epoch, or ``which`` is ``"best"`` and the run has no validation set.
        """
        snapshot = self._snapshot(which)
        return model_of(self.path(snapshot.epoch), snapshot)

    def _snapshot(self, which: Any) -> Snapshot:
        files = self._files()
        if files and which not in ("best", "last", *files):
            raise ValueError(f"which must be 'best', 'last' or one of the epochs {self.epochs}, got {which!r}")
        if which in files:
            return self.read(int(which))
        latest = self._latest_or_raise()
        if which == "last":
            return latest
        best = ranked(latest.history.epochs, self.monitor)
        if not best:
            raise ValueError(
                f"which='best' requires a validation set, but the run in {self.folder} has none; use 'last'"
            )
        found = next((number for number in best if number in files), None)
        if found is None:
            raise ValueError(
                f"which='best': no checkpoint of an epoch with a validation result is left in {self.folder}; use 'last'"
            )
        if found != best[0]:
            warnings.warn(
                f"epoch {best[0]} has the best {self.monitor}, but its checkpoint was not kept; loading epoch {found}, "
                f"the best one in {self.folder}",
                CheckpointWarning,
                stacklevel=3,
            )
        return latest if found == latest.epoch else self.read(found)

    def _latest_or_raise(self) -> Snapshot:
        snapshot = self.latest()
        if snapshot is None:
            raise FileNotFoundError(
                f"there is no checkpoint in {self.folder}; pass the directory that was given as checkpoint="
            )
        return snapshot

    # ---- used by the trainer

    def absolute(self) -> Checkpoint:
        """Return a copy with an absolute path, which does not depend on later changes of the working directory."""
        found = copy.copy(self)
        found._set("folder", str(Path(self.folder).absolute()))
        return found

    def path(self, epoch: int) -> Path:
        """Return the path of the checkpoint of an epoch."""
        return Path(self.folder) / f"epoch-{epoch:06d}.safetensors"

    def lock(self) -> FolderLock:
        """Create the directory and lock it for a run. Raise BlockingIOError if another run uses it."""
        folder = Path(self.folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(f"checkpoint={self.folder!r} is a file; pass the path of a directory") from None
        except OSError as error:
            raise OSError(f"the checkpoint directory {folder} cannot be created: {error.strerror or error}") from error
        try:
            return FolderLock(folder)
        except BlockingIOError:
            raise BlockingIOError(
                f"another run is using the checkpoint directory {folder}; wait for its end, or pass another directory"
            ) from None
        except OSError as error:
            raise OSError(f"the checkpoint directory {folder} is not readable: {error.strerror or error}") from error

    def prepare(self, *, resume: bool) -> None:
        """Check that the directory is writable, and remove partial files of a killed run.

        Raise FileExistsError if it holds checkpoints and ``resume`` is False.
        """
        folder = Path(self.folder)
        if self._files() and not resume:
            raise FileExistsError(
                f"{folder} already holds checkpoints of a run of {self.epochs[-1]} epochs; pass resume=True to resume "
                "it, or another directory"
            )
        trial = folder / f".epoch-000000.safetensors.{os.getpid():08}.part"
        try:
            trial.write_bytes(b"")
            trial.unlink()
        except OSError as error:
            raise OSError(f"the checkpoint directory {folder} is not writable: {error.strerror or error}") from error
        remove_parts(folder, _NAME.pattern)

    def latest(self) -> Snapshot | None:
        """Return the latest readable checkpoint, or None if there are no files.

        Skip damaged files with a `CheckpointWarning`; raise OSError if all files are damaged.
        """
        numbers = sorted(self._files(), reverse=True)
        for number in numbers:
            try:
                return self.read(number)
            except OSError as error:
                warnings.warn(
                    f"{error}; skipping this checkpoint and using the previous one", CheckpointWarning, stacklevel=2
                )
        if numbers:
            raise OSError(
                f"every checkpoint in {self.folder} is damaged, so the run cannot be resumed; pass another directory "
                "to start again"
            )
        return None

    def read(self, epoch: int) -> Snapshot:
        """Read the checkpoint of an epoch."""
        path = self.path(epoch)
        return checked_snapshot(path, epoch, *read_tensors(path, FORMAT))

    def write(self, snapshot: Snapshot, records: Sequence[EpochRecord]) -> None:
        """Write a checkpoint atomically, then remove the files that are no longer kept.

        If writing fails, earlier checkpoints are unchanged.
        """
        path = self.path(snapshot.epoch)
        try:
            write_tensors(path, FORMAT, snapshot.description, snapshot.tensors)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            message = f"checkpoint {path} could not be written ({reason}); earlier checkpoints are intact"
            raise (OSError(error.errno, message) if error.errno else OSError(message)) from error
        files = self._files()
        best = [number for number in ranked(records, self.monitor) if number in files]
        kept = {*sorted(files)[-self.keep_last :], *best[: self.keep_best]}
        for number, file in files.items():
            if number not in kept:
                file.unlink(missing_ok=True)

    def _files(self) -> dict[int, Path]:
        with suppress(FileNotFoundError, NotADirectoryError):
            matches = ((_NAME.fullmatch(path.name), path) for path in Path(self.folder).iterdir())
            return {int(match[1]): path for match, path in matches if match and path.is_file()}
        return {}


def ranked(records: Sequence[EpochRecord], monitor: str) -> list[int]:
    """Return the numbers of the epochs from best to worst, ties in order.

    Epochs without a validation result, or whose result is NaN or infinite, are omitted.
    """
    values = [(getattr(record, monitor), record.epoch) for record in records]
    scores = [(-score(monitor, value), epoch) for value, epoch in values if value is not None and isfinite(value)]
    return [epoch for _, epoch in sorted(scores)]
