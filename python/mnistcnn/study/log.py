"""The experiment log: one JSON line per trial, appended whole; and the table made of it."""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.tables import aligned, html_table, json_text, pandas, without_nan
from mnistcnn.study.recipe_words import recipe_words
from mnistcnn.study.student import mean_of
from mnistcnn.study.trials import Setting, Trial, Trials, percent, plain, spread

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_LOG = "experiments.jsonl"
_FORMAT = "mnistcnn trial 1"
_WIDTH = 40  # of a recipe in the printed table


def check_log(path: Path) -> None:
    """Refuses, before any work, a path that can't be appended to."""
    _refuse_folder(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} of the experiment log does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"the experiment log {path} can't be written here; name another with log=, or log=None")


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; the experiment log is a file, such as {path / DEFAULT_LOG}")


def append(path: Path, setting: Setting, trial: Trial) -> None:
    """Adds a trial as one line: whole or not at all, also when several processes write at once."""
    record = {"format": _FORMAT, "setting": without_nan(plain(asdict(setting))), "trial": trial.to_dict()}
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    with _locked(path) as (handle, is_new):
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # an earlier writer was killed: its torn line must not swallow this one
        try:
            written = 0
            while written < len(line):
                written += os.write(handle, line[written:])
        except BaseException:
            os.ftruncate(handle, size)
            if is_new and not size:
                path.unlink()
            raise


@contextmanager
def _locked(path: Path) -> Iterator[tuple[int, bool]]:
    """The open file, which no other writer touches, and whether this call has made it."""
    while True:
        handle, is_new = _opened(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(path, handle):  # and was not removed by the writer that held the lock
                yield handle, is_new
                return
        finally:
            os.close(handle)  # and with it the lock


def _opened(path: Path) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    try:
        return os.open(path, flags | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, flags, 0o666), False


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def read(path: Path) -> list[tuple[Setting, Trial]]:
    """Every trial of a log, oldest first; a line that can't be read is left out with a warning."""
    _refuse_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no experiment log {path}; mnistcnn.run_trials writes one")
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if record["format"] != _FORMAT:
                raise ValueError(f"its format is {record['format']!r}, this mnistcnn reads {_FORMAT!r}")
            found.append((Setting.from_dict(record["setting"]), Trial.from_dict(record["trial"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"{path}, line {number} is torn or no trial, and left out ({reason})", stacklevel=3)
    return found


@dataclass(frozen=True, eq=False, repr=False)
class Experiments:
    """All experiments of a log, each with all of its trials: `mnistcnn.experiments` makes it.

    Trials belong to one experiment if they share all but the seed: network, recipe, data and version of mnistcnn. Of a
    seed that was run again, the last run counts.
    """

    experiments: tuple[Trials, ...]
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.experiments)

    def __iter__(self) -> Iterator[Trials]:
        return iter(self.experiments)

    def __getitem__(self, index: int) -> Trials:
        """The trials of one row, ready for `mnistcnn.compare`."""
        return self.experiments[index]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per row, accuracies from 0 to 1; None where there is no such number."""
        return [without_nan(_row(trials)) for trials in self.experiments]

    def to_json(self, path: str | Path | None = None) -> str:
        """The rows as JSON text, also written to ``path`` if given."""
        return json_text(self.to_dicts(), path)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per experiment."""
        return pandas().DataFrame([_row(trials) for trials in self.experiments], columns=list(_COLUMNS))

    def _title(self) -> str:
        count = f"{len(self)} experiment{'' if len(self) == 1 else 's'}"
        return f"{count}{f' in {self.path}' if self.path else ''}"

    def __repr__(self) -> str:
        lines = aligned([_HEADINGS, *(_cells(_row(trials)) for trials in self.experiments)], left=3, gap="  ")
        return "\n".join([self._title(), *(f"  {line}".rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        return html_table(_HEADINGS, [_cells(_row(each)) for each in self.experiments], title=self._title(), left=3)


def experiments(path: str | Path | None = None) -> Experiments:
    """The table of all experiments in a log, by default ``experiments.jsonl`` in the current folder.

    Parameters
    ----------
    path
        A log that `mnistcnn.run_trials` or `mnistcnn.cross_validate` has written to.

    Returns
    -------
    Experiments
        Per experiment: model, in what its recipe differs from the published one (or from ``Recipe()`` where it comes
        from none), parameters, receptive field, epochs, seeds; the best and the last accuracy on the
        validation set, if there was one (means over the seeds); mean and deviation on the test set after the last
        epoch; and the gap between training and test.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, test_set = mnistcnn.load("digits")
    >>> trials = mnistcnn.run_trials("budget_model3", train_set[:300], test_set[:100], mnistcnn.Recipe(epochs=1),
    ...                              seeds=2, log="log.jsonl", progress=False)
    >>> len(mnistcnn.experiments("log.jsonl"))
    1
    """
    path = Path(DEFAULT_LOG if path is None else path)
    groups: dict[str, tuple[Setting, dict[int, Trial]]] = {}
    for setting, trial in read(path):
        recipe = {name: value for name, value in setting.recipe.items() if name != "about"}  # which decides nothing
        shared = [asdict(setting) | {"recipe": recipe}, trial.made_with.get("versions", {}).get("mnistcnn")]
        _, trials = groups.setdefault(json.dumps(shared, sort_keys=True), (setting, {}))
        trials.pop(trial.seed, None)
        trials[trial.seed] = trial
    return Experiments(tuple(Trials(setting, tuple(found.values())) for setting, found in groups.values()), path)


_COLUMNS = (
    *("model", "variant", "recipe", "parameters", "receptive_field", "epochs", "data", "trials", "diverged", "folds"),
    *("best_validation", "last_validation", "mean", "sd", "minimum", "maximum", "train", "gap", "seconds"),
)
_HEADINGS = [
    *("model", "recipe", "data", "parameters", "field", "epochs", "trials"),
    *("best val", "last val", "test, mean ± sd", "minimum", "gap train–test", "seconds"),
]


def _row(trials: Trials) -> dict[str, Any]:
    setting, accuracies = trials.setting, trials.accuracies
    seen = [history.column("validation_accuracy") for history in trials.histories if len(history)]
    validated = bool(seen) and setting.validation is not None
    return {
        "model": setting.model,
        "variant": (setting.recipe.get("about") or {}).get("variant"),
        "recipe": recipe_words(setting.recipe),
        "parameters": setting.parameters,
        "receptive_field": setting.receptive_field,
        "epochs": setting.recipe.get("epochs"),
        "data": setting.test_set.name,
        "trials": len(trials),
        "diverged": len(trials.diverged),
        "folds": setting.folds,
        "best_validation": mean_of(tuple(float(column.max()) for column in seen)) if validated else float("nan"),
        "last_validation": mean_of(tuple(float(column[-1]) for column in seen)) if validated else float("nan"),
        "mean": trials.mean,
        "sd": trials.sd,
        "minimum": trials.minimum,
        "maximum": max(accuracies, default=float("nan")),
        "train": trials.train_accuracy,
        "gap": trials.train_accuracy - trials.mean,
        "seconds": sum(trial.history.seconds for trial in trials),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['model']} ({row['variant']})" if row["variant"] else row["model"],
        row["recipe"] if len(row["recipe"]) <= _WIDTH else f"{row['recipe'][: _WIDTH - 1]}…",
        row["data"],
        f"{row['parameters']:,}",
        str(row["receptive_field"]),
        str(row["epochs"]),
        str(row["trials"]) + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
        percent(row["best_validation"]),
        percent(row["last_validation"]),
        spread(row["mean"], row["sd"]),
        percent(row["minimum"]),
        percent(row["gap"]).replace("%", "points") if row["gap"] == row["gap"] else "-",
        f"{row['seconds']:.1f}",
    ]
