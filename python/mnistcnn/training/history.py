"""History of a training run: the results of every epoch and the loss of every step."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from mnistcnn._internal.json_data import errors_naming, read_json, typed
from mnistcnn._internal.tables import aligned, counted, html_table, json_text, pandas, without_nan, write_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EpochRecord:
    """Results of one epoch. Losses and accuracies are means over images.

    Attributes
    ----------
    epoch
        Number of the epoch, from 1.
    train_loss
        Mean loss during training. Each batch is evaluated with the weights before its update.
    train_accuracy
        Fraction of training images that are classified correctly during training, from 0 to 1.
    validation_loss
        Mean loss of the validation set after the epoch, without label smoothing and class weights; None without a
        validation set.
    validation_accuracy
        Accuracy on the validation set after the epoch, from 0 to 1; None without a validation set.
    learning_rate
        Learning rate of the first step.
    seconds
        Duration of the training steps; the validation is not included.
    last_learning_rate
        Learning rate of the last step; None in files of older versions.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    last_learning_rate: float | None = None

    def __str__(self) -> str:
        text = f"epoch {self.epoch}: train loss {self.train_loss:.4f}, accuracy {100 * self.train_accuracy:.2f} %"
        if self.validation_loss is not None and self.validation_accuracy is not None:
            text += f"; validation loss {self.validation_loss:.4f}, accuracy {100 * self.validation_accuracy:.2f} %"
        return f"{text}; {self.seconds:.2f} s"


class _RequiredData(TypedDict):
    model: str
    seed: int
    epochs: list[EpochRecord]
    step_losses: list[float]


class _HistoryData(_RequiredData, total=False):
    recipe: dict[str, Any] | None  # missing in files of older versions


_COLUMNS = [each.name for each in fields(EpochRecord)]


@dataclass
class History:
    """History of a training run: one `EpochRecord` per epoch, the loss of every step, and the recipe.

    It is a sequence of its epochs: ``len(history)``, ``history[0]`` and iteration use ``epochs``.

    Parameters
    ----------
    model
        Name of the model.
    seed
        Seed of the run.
    epochs
        Records of the epochs. Default: an empty list.
    step_losses
        Mean loss of the batch of every step. Default: an empty list.
    recipe
        Recipe of the run as a dictionary; None in files of older versions. Default: None.

    Examples
    --------
    >>> from mnistcnn import History
    >>> from mnistcnn.callbacks import EpochRecord
    >>> history = History(model="session7_net", seed=1)
    >>> history.epochs.append(EpochRecord(1, 0.25, 0.92, 0.08, 0.975, 0.01, 1.5))
    >>> history
    History 'session7_net', seed 1: 1 epoch in 1.5 s
      epoch   train loss   train acc   validation loss   validation acc      lr   seconds
          1       0.2500     92.00 %            0.0800          97.50 %    0.01      1.50
    """

    model: str = "model"
    seed: int = 0
    epochs: list[EpochRecord] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    recipe: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.epochs)

    def __getitem__(self, index: int) -> EpochRecord:
        return self.epochs[index]

    def column(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return one field of all epochs as an array, such as ``"train_loss"``; missing values are NaN."""
        if name not in _COLUMNS:
            raise ValueError(f"name must be one of the columns {', '.join(_COLUMNS)}, got {name!r}")
        values = [getattr(record, name) for record in self.epochs]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def last(self) -> EpochRecord:
        """Record of the last epoch. Raise ValueError if no epoch is complete."""
        if not self.epochs:
            raise ValueError("the history is empty: no epoch has been completed")
        return self.epochs[-1]

    @property
    def seconds(self) -> float:
        """Duration of all epochs, in seconds."""
        return sum(record.seconds for record in self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """Return the history as a dictionary of lists, strings and numbers."""
        return {
            "model": self.model,
            "seed": self.seed,
            "epochs": [asdict(record) for record in self.epochs],
            "step_losses": list(self.step_losses),
            "recipe": copy.deepcopy(self.recipe),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> History:
        """Create a history from the result of `to_dict`; raise ValueError if a field is wrong."""
        data = typed(values, _HistoryData, "history")
        for index, record in enumerate(data["epochs"]):
            for name in ("train_accuracy", "validation_accuracy"):
                value = getattr(record, name)
                if value is not None and (value < 0 or value > 1):  # NaN is allowed
                    raise ValueError(f"history.epochs[{index}].{name} must be from 0 to 1, got {value:g}")
        return cls(**{**data, "recipe": copy.deepcopy(data.get("recipe"))})

    def to_json(self, path: str | Path | None = None) -> str:
        """Return JSON text, and write it to a file if ``path`` is given. NaN and infinity become null."""
        return json_text(without_nan(self.to_dict()), path)

    @classmethod
    def from_json(cls, path: str | Path) -> History:
        """Read a file that `to_json` wrote; raise ValueError if it is not one."""
        with errors_naming(path):
            return cls.from_dict(read_json(path))

    def to_csv(self, path: str | Path) -> Path:
        """Write a CSV file with one row per epoch, and return its path."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, _COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(record) for record in self.epochs)
        return write_text(path, text.getvalue())

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas data frame with one row per epoch, indexed by the number of the epoch."""
        return pandas().DataFrame([asdict(record) for record in self.epochs], columns=_COLUMNS).set_index("epoch")

    def _title(self) -> str:
        epochs = counted(len(self), "epoch")
        return f"History '{self.model}', seed {self.seed}: {epochs} in {self.seconds:.1f} s"

    def __repr__(self) -> str:
        if not self.epochs:
            return self._title()
        lines = aligned([_HEADINGS, *(_cells(record) for record in self.epochs)])
        return "\n".join([self._title(), *(f"  {line}" for line in lines)])

    def _repr_html_(self) -> str:
        return html_table(list(_HEADINGS), [_cells(record) for record in self.epochs], title=self._title())


_HEADINGS = ("epoch", "train loss", "train acc", "validation loss", "validation acc", "lr", "seconds")


def _cells(record: EpochRecord) -> list[str]:
    loss, accuracy = record.validation_loss, record.validation_accuracy
    return [
        str(record.epoch),
        f"{record.train_loss:.4f}",
        f"{100 * record.train_accuracy:.2f} %",
        "-" if loss is None else f"{loss:.4f}",
        "-" if accuracy is None else f"{100 * accuracy:.2f} %",
        f"{record.learning_rate:g}",
        f"{record.seconds:.2f}",
    ]
