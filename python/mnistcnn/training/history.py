"""What a training run leaves behind: numbers only."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.tables import aligned, html_table, json_text, pandas, without_nan, write_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EpochRecord:
    """One epoch. Losses and accuracies are sums over images divided by their number; accuracies lie in 0 to 1.

    The training numbers are those seen while training, each batch with the weights it met.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float  # of its first step
    seconds: float
    last_learning_rate: float | None = None  # of its last step; None in files of older versions

    def __str__(self) -> str:
        text = f"epoch {self.epoch}: train loss {self.train_loss:.4f}, accuracy {100 * self.train_accuracy:.2f} %"
        if self.validation_loss is not None and self.validation_accuracy is not None:
            text += f"; validation loss {self.validation_loss:.4f}, accuracy {100 * self.validation_accuracy:.2f} %"
        return f"{text}; {self.seconds:.2f} s"


_COLUMNS = [each.name for each in fields(EpochRecord)]


@dataclass
class History:
    """Every epoch of a run, the loss of every step, and what the run was made with.

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
    recipe: dict[str, Any] | None = None  # what the run was made with; None in files of older versions

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.epochs)

    def __getitem__(self, index: int) -> EpochRecord:
        return self.epochs[index]

    def column(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """One number of every epoch, such as ``"train_loss"``; NaN where there is none."""
        if name not in _COLUMNS:
            raise ValueError(f"there is no column {name!r}; choose from {', '.join(_COLUMNS)}")
        values = [getattr(record, name) for record in self.epochs]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def last(self) -> EpochRecord:
        """The last epoch: the one to report."""
        if not self.epochs:
            raise ValueError("the history is empty: no epoch has been completed")
        return self.epochs[-1]

    @property
    def seconds(self) -> float:
        """The time of all epochs."""
        return sum(record.seconds for record in self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return {
            "model": self.model,
            "seed": self.seed,
            "epochs": [asdict(record) for record in self.epochs],
            "step_losses": list(self.step_losses),
            "recipe": copy.deepcopy(self.recipe),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> History:
        """The history that `to_dict` described."""
        epochs = [EpochRecord(**record) for record in values["epochs"]]
        recipe = copy.deepcopy(values.get("recipe"))
        return cls(values["model"], values["seed"], epochs, list(values["step_losses"]), recipe)

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, also written to ``path`` if given."""
        return json_text(without_nan(self.to_dict()), path)

    @classmethod
    def from_json(cls, path: str | Path) -> History:
        """Reads what `to_json` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))

    def to_csv(self, path: str | Path) -> Path:
        """One line per epoch."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, _COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(record) for record in self.epochs)
        return write_text(path, text.getvalue())

    def to_dataframe(self) -> pd.DataFrame:
        """One row per epoch, indexed by it."""
        return pandas().DataFrame([asdict(record) for record in self.epochs], columns=_COLUMNS).set_index("epoch")

    def _title(self) -> str:
        epochs = f"{len(self)} epoch{'' if len(self) == 1 else 's'}"
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
