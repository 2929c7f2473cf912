"""Optuna study of a sweep: created, or loaded from its database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from mnistcnn._internal.json_data import errors_naming, parsed, typed
from mnistcnn._internal.packages import missing_package

if TYPE_CHECKING:
    import optuna

_STARTUP = 5  # complete trials before pruning starts
_DESCRIPTION = "mnistcnn sweep"


@contextmanager
def opened_study(
    storage: str | None, name: str, text: str, seed: int, pruning: bool, resume: bool
) -> Iterator[optuna.Study]:
    """Create a study, or load one to resume; close its database on exit.

    ``text`` describes the sweep. A study that was created with another description raises ValueError.
    """
    try:
        import optuna
    except ImportError:
        raise missing_package("a sweep", "optuna") from None
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP) if pruning else optuna.pruners.NopPruner()
    verbosity, database = optuna.logging.get_verbosity(), None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        database = None if storage is None else _database(storage)
        try:
            study = optuna.create_study(
                storage=database, study_name=name, load_if_exists=resume, direction="maximize", pruner=pruner
            )
        except optuna.exceptions.DuplicatedStudyError:
            raise ValueError(
                f"{storage} already has a study {name!r}; pass resume=True to resume it, or another name="
            ) from None
        _check_same(study, text, name)
        # With the same seed, the sampler of a resumed study would propose the same recipes again.
        study.sampler = optuna.samplers.TPESampler(seed=(seed + 7919 * len(study.trials)) % 2**32)
        yield study
    finally:
        optuna.logging.set_verbosity(verbosity)
        if database is not None:
            database.remove_session()
            database.engine.dispose()


def _database(storage: str) -> optuna.storages.RDBStorage:
    import optuna
    from sqlalchemy import make_url
    from sqlalchemy.exc import DBAPIError

    if "://" not in str(storage):
        raise ValueError(f"storage must be a database URL such as 'sqlite:///sweep.db', got {storage!r}")
    try:
        url = make_url(storage)
        if url.get_backend_name() == "sqlite" and url.database:
            with closing(sqlite3.connect(url.database)) as database:  # SQLAlchemy would leave the file open
                database.execute("pragma schema_version")
        return optuna.storages.RDBStorage(storage)
    except Exception as error:  # raised by SQLAlchemy, Optuna or the package of a database
        kind = OSError if isinstance(error, DBAPIError | sqlite3.Error) else ValueError
        reason = str(error).splitlines()[0]
        raise kind(
            f"storage {storage!r} cannot be opened as a database: {reason}; use a new file, or one created by a sweep, "
            "such as 'sqlite:///sweep.db'"
        ) from None


def _check_same(study: optuna.Study, text: str, name: str) -> None:
    stored = study.user_attrs.get(_DESCRIPTION)
    if stored is None and not study.trials:
        study.set_user_attr(_DESCRIPTION, text)
        return
    where = f"attribute {_DESCRIPTION!r}"
    with errors_naming(f"study {name!r}"):
        theirs = {} if stored is None else typed(parsed(typed(stored, str, where)), dict[str, str], where)
    ours = parsed(text)
    changed = [key for key in ours if ours[key] != theirs.get(key)]
    if changed:
        raise ValueError(
            f"study {name!r} was created with a different {' and '.join(changed)}; pass the same arguments as before, "
            "or another storage or name"
        )
