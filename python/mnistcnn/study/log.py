"""Experiment log: one JSON line per trial, appended atomically, and the table of experiments read from it."""

from __future__ import annotations

import glob
import gzip
import html
import json
import os
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.json_data import check_format, parsed, typed
from mnistcnn._internal.locks import lock
from mnistcnn._internal.tables import aligned, counted, first_names, html_table, json_text, pandas, percent, without_nan
from mnistcnn.study.recipe_words import recipe_words
from mnistcnn.study.student_t import mean_of
from mnistcnn.study.trials import Setting, Trial, Trials, spread

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_LOG = "experiments.jsonl"
_FORMAT = "mnistcnn trial 1"


Seeds = Sequence[int]


class _RequiredRecord(TypedDict):
    format: str
    setting: dict[str, Any]
    trial: dict[str, Any]


class _Record(_RequiredRecord, total=False):
    seeds: int | list[int]  # of the whole study: n means 0 to n - 1


_GZIP = b"\x1f\x8b"  # the first bytes of a compressed file
_START = 2**16  # bytes at the start of a file that must contain a line of a log
_WIDTH = 40  # maximum width of a recipe in the printed table


def check_log(path: Path) -> None:
    """Raise OSError unless the log can be appended to, ValueError if it is another file; called before any training."""
    _check_not_directory(path)
    if path.suffix == ".gz":
        raise ValueError(f"experiment log {path} must not be compressed; pass a name that ends in .jsonl")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"directory {path.parent} of the experiment log does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"experiment log {path} is not writable; pass another path as log=")
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(_START).strip()
        if start and not re.search(rb'"format":\s*"mnistcnn trial', start):
            raise ValueError(f"{path} is not an experiment log; pass another path as log=")


def _check_not_directory(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"experiment log must be a file, such as {path / DEFAULT_LOG}; {path} is a directory")


def append(path: Path, setting: Setting, trial: Trial, intended: Seeds | None = None) -> None:
    """Append a trial as one line, atomically. Several processes may write to the same log.

    ``intended`` are the seeds of the whole study, from which `experiments` finds the missing ones.
    """
    record = {"format": _FORMAT, "setting": without_nan(asdict(setting)), "trial": trial.to_dict()}
    if intended is not None:
        consecutive = list(intended) == list(range(len(intended)))
        record["seeds"] = len(intended) if consecutive else list(intended)
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    with _opened_exclusively(path) as log:
        size = os.fstat(log.handle).st_size
        if size and os.pread(log.handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # the last line is incomplete (writer killed): start a new one
        try:
            written = 0
            while written < len(line):
                written += os.write(log.handle, line[written:])
        except BaseException:
            if log.is_locked:  # otherwise another process may have appended a line
                os.ftruncate(log.handle, size)
                if log.is_new and not size:
                    path.unlink()
            raise


@dataclass(frozen=True)
class _OpenLog:
    handle: int
    is_new: bool  # created by this call
    is_locked: bool  # False if the file system does not support locks


@contextmanager
def _opened_exclusively(path: Path) -> Iterator[_OpenLog]:
    """Open the file, which is created if it does not exist, and lock it exclusively."""
    while True:
        handle, is_new = _opened(path)
        try:
            is_locked = lock(handle, wait=True)
            if _is_at(path, handle):  # not removed by the previous holder of the lock
                yield _OpenLog(handle, is_new, is_locked)
                return
        finally:
            os.close(handle)  # releases the lock


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


@dataclass(frozen=True)
class LoggedTrial:
    """Line of a log."""

    setting: Setting
    trial: Trial
    intended: tuple[int, ...] = ()  # seeds of the whole study; empty if unknown


def read(path: Path) -> list[LoggedTrial]:
    """Return the trials of a log, oldest first, also of one compressed with gzip. Skip invalid lines with a warning.

    Raise ValueError if no line is valid, for example if the file is an image.
    """
    _check_not_directory(path)
    if not path.exists():
        raise FileNotFoundError(
            f"experiment log {path} does not exist; mnistcnn.run_trials(..., log={str(path)!r}) writes one"
        )
    content = path.read_bytes()
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    found, problems = [], []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append(_logged_trial(line))
        except ValueError as error:
            problems.append((number, str(error)))
    if problems and not found:
        number, reason = problems[0]
        raise ValueError(f"{path} is not an experiment log: no line is a valid trial (line {number}: {reason})")
    for number, reason in problems:
        warnings.warn(f"{path}, line {number}: not a valid trial, skipped ({reason})", stacklevel=3)
    return found


def _logged_trial(line: bytes) -> LoggedTrial:
    data = parsed(line)
    check_format(data, _FORMAT)
    record = typed(data, _Record, "the line")
    seeds = record.get("seeds", [])
    intended = tuple(range(whole_number("seeds", seeds, maximum=100_000))) if isinstance(seeds, int) else tuple(seeds)
    return LoggedTrial(Setting.from_dict(record["setting"]), Trial.from_dict(record["trial"]), intended)


@dataclass(frozen=True, eq=False, repr=False)
class Experiments:
    """Table of the experiments in one or more logs, returned by `mnistcnn.experiments`.

    An experiment is a `Trials` object. Its trials have the same network, recipe, data sets and version of mnistcnn, and
    different seeds. If a seed was run more than once with the same log, the last run is used. The seeds that are
    missing, compared with the arguments of `mnistcnn.run_trials`, are its ``unfinished`` seeds.

    Attributes
    ----------
    experiments
        The experiments, in the order of the rows.
    paths
        Logs that were read.
    """

    experiments: tuple[Trials, ...]
    paths: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.experiments)

    def __iter__(self) -> Iterator[Trials]:
        return iter(self.experiments)

    def __getitem__(self, index: int) -> Trials:
        """Return the trials of one experiment, for example for `mnistcnn.compare`."""
        return self.experiments[index]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary per experiment. Accuracies are from 0 to 1; missing numbers are None."""
        return [without_nan(_row(trials)) for trials in self.experiments]

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the table as JSON text; also write it to ``path`` if given."""
        return json_text(self.to_dicts(), path)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas DataFrame with one row per experiment."""
        return pandas().DataFrame([_row(trials) for trials in self.experiments], columns=list(_COLUMNS))

    def _title(self) -> str:
        logs = str(self.paths[0]) if len(self.paths) == 1 else f"{len(self.paths)} logs"
        return f"{counted(len(self), 'experiment')}{f' in {logs}' if self.paths else ''}"

    def _missing(self) -> list[str]:
        """Return a line for each experiment with missing seeds."""
        lines = []
        for index, each in enumerate(self.experiments):
            if each.unfinished:
                missing, unit = len(each.unfinished), "folds" if each.setting.folds else "seeds"
                lines.append(
                    f"experiment {index}, {each.setting.title}: {missing} of {len(each) + missing} {unit} missing: "
                    f"{first_names(each.unfinished, _LISTED)}"
                )
        return lines

    def __repr__(self) -> str:
        lines = aligned([_HEADINGS, *(_cells(_row(trials)) for trials in self.experiments)], left=3, gap="  ")
        return "\n".join([self._title(), *(f"  {line}".rstrip() for line in lines), *self._missing()])

    def _repr_html_(self) -> str:
        table = html_table(_HEADINGS, [_cells(_row(each)) for each in self.experiments], title=self._title(), left=3)
        return table + "".join(f"<div>{html.escape(line)}</div>" for line in self._missing())


def experiments(path: str | Path | Iterable[str | Path] | None = None) -> Experiments:
    """Return the experiments of one or more logs as a table.

    Parameters
    ----------
    path
        Log written by `mnistcnn.run_trials` or `mnistcnn.cross_validate`, also compressed by gzip (``.jsonl.gz``), a
        pattern such as ``"runs/*.jsonl"``, or a sequence of these: the logs of shards, for example. Default: None,
        which reads ``experiments.jsonl`` in the current directory.

    Returns
    -------
    Experiments
        One row per experiment: model, recipe, data sets, size of the network, number of trials, and accuracies. The
        column of the recipe shows how it differs from the published one, or from ``Recipe()``. Experiments with the
        same digest used the same training, test and validation images. The missing seeds are listed below the table.

    Raises
    ------
    FileNotFoundError
        If a log does not exist, or no file matches a pattern.
    ValueError
        If a file is not a log, or two logs contain the same seed of the same experiment.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, test_set = mnistcnn.load("digits")
    >>> trials = mnistcnn.run_trials("budget_model3", train_set[:300], test_set[:100], mnistcnn.Recipe(epochs=1),
    ...                              seeds=2, log="log.jsonl", progress=False)
    >>> len(mnistcnn.experiments("log.jsonl"))
    1
    """
    paths = _paths(DEFAULT_LOG if path is None else path)
    groups: dict[str, _Group] = {}
    for log in paths:
        for logged in read(log):
            group = groups.setdefault(_key(logged), _Group(logged.setting, {}, {}, {}))
            group.add(logged, log)
    return Experiments(tuple(group.as_trials() for group in groups.values()), paths)


def _paths(given: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    """Return the paths of logs, with patterns replaced by the files that match, each file once."""
    found: dict[Path, Path] = {}
    for each in (given,) if isinstance(given, str | Path) else given:
        path = Path(each)
        matches = [path]
        if not path.exists() and glob.has_magic(str(path)):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
            if not matches:
                raise FileNotFoundError(f"no experiment log matches {path}")
        found.update((match.resolve(), match) for match in matches)
    if not found:
        raise ValueError("path must name at least one experiment log, got none")
    return tuple(found.values())


def _key(logged: LoggedTrial) -> str:
    """Return text that is equal for the trials of one experiment."""
    recipe = {name: value for name, value in logged.setting.recipe.items() if name != "about"}  # not used in training
    versions = logged.trial.made_with.get("versions")
    version = versions.get("mnistcnn") if isinstance(versions, dict) else None
    return json.dumps([asdict(logged.setting) | {"recipe": recipe}, version], sort_keys=True)


@dataclass(frozen=True)
class _Group:
    """Trials of one experiment, by seed."""

    setting: Setting
    trials: dict[int, Trial]
    logs: dict[int, Path]
    intended: dict[int, None]  # an ordered set

    def add(self, logged: LoggedTrial, log: Path) -> None:
        seed = logged.trial.seed
        if self.logs.setdefault(seed, log) != log:
            raise ValueError(
                f"{self.logs[seed]} and {log} both contain seed {seed} of the same experiment "
                f"({self.setting.title}, {self.setting.train_set}); leave out one of the logs"
            )
        self.trials.pop(seed, None)
        self.trials[seed] = logged.trial
        self.intended.update(dict.fromkeys(logged.intended))

    def as_trials(self) -> Trials:
        missing = tuple(seed for seed in self.intended if seed not in self.trials)
        return Trials(self.setting, tuple(self.trials.values()), missing)


_LISTED = 20  # missing seeds that are printed

_COLUMNS = (
    *("model", "variant", "recipe", "parameters", "receptive_field", "epochs", "data", "images", "digest", "trials"),
    *("missing", "diverged", "folds"),
    *("best_validation", "last_validation", "mean", "sd", "minimum", "maximum", "train", "gap", "seconds"),
)
_HEADINGS = [
    *("model", "recipe", "data", "images", "digest", "parameters", "field", "epochs", "trials"),
    *("best val", "last val", "test, mean ± sd", "minimum", "gap train–test", "seconds"),
]


def _row(trials: Trials) -> dict[str, Any]:
    setting, accuracies = trials.setting, trials.accuracies
    columns = [history.column("validation_accuracy") for history in trials.histories if len(history)]
    validated = bool(columns) and setting.validation is not None
    return {
        "model": setting.model,
        "variant": (setting.recipe.get("about") or {}).get("variant"),
        "recipe": recipe_words(setting.recipe),
        "parameters": setting.parameters,
        "receptive_field": setting.receptive_field,
        "epochs": setting.recipe.get("epochs"),
        "data": setting.test_set.name,
        "images": setting.train_set.images,
        "digest": setting.data_digest,
        "trials": len(trials),
        "missing": list(trials.unfinished),
        "diverged": len(trials.diverged),
        "folds": setting.folds,
        "best_validation": mean_of(tuple(float(column.max()) for column in columns)) if validated else float("nan"),
        "last_validation": mean_of(tuple(float(column[-1]) for column in columns)) if validated else float("nan"),
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
        f"{row['images']:,}",
        row["digest"],
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
