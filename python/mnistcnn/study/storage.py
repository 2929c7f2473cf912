"""Optuna's study of a sweep: begun, or found in its database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

_STARTUP = 5  # complete trials before anything is pruned
_DESCRIPTION = "mnistcnn sweep"


@contextmanager
def opened_study(
    storage: str | None, name: str, text: str, seed: int, pruning: bool, resume: bool
) -> Iterator[optuna.Study]:
    """A new study, or one that was begun; it must have been about the same, which `text` says.

    Afterwards its database is closed.
    """
    try:
        import optuna
    except ImportError:
        raise ImportError('a sweep needs Optuna: pip install "mnistcnn[sweep]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = None if storage is None else _database(storage)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP) if pruning else optuna.pruners.NopPruner()
    try:
        try:
            study = optuna.create_study(
                storage=database, study_name=name, load_if_exists=resume, direction="maximize", pruner=pruner
            )
        except optuna.exceptions.DuplicatedStudyError:
            raise ValueError(
                f"{storage} has a study {name!r} already; say resume=True to go on with it, or give another name="
            ) from None
        _check_same(study, text, name)
        # A sampler that starts with the same seed again would propose the same again.
        study.sampler = optuna.samplers.TPESampler(seed=(seed + 7919 * len(study.trials)) % 2**32)
        yield study
    finally:
        if database is not None:
            database.remove_session()
            database.engine.dispose()


def _database(storage: str) -> optuna.storages.RDBStorage:
    import optuna
    from sqlalchemy import make_url
    from sqlalchemy.exc import DBAPIError

    if "://" not in str(storage):
        raise ValueError(f"storage must be the address of a database, such as 'sqlite:///sweep.db', got {storage!r}")
    try:
        address = make_url(storage)
        if address.get_backend_name() == "sqlite" and address.database:
            with closing(sqlite3.connect(address.database)) as database:  # SQLAlchemy would leave it open
                database.execute("pragma schema_version")
        return optuna.storages.RDBStorage(storage)
    except Exception as error:  # of SQLAlchemy, of Optuna, or of a database's own package
        kind = OSError if isinstance(error, DBAPIError | sqlite3.Error) else ValueError
        reason = str(error).splitlines()[0]
        raise kind(
            f"the storage {storage!r} can't be opened as a database: {reason}; name a new file, or one that a sweep "
            "has made, such as 'sqlite:///sweep.db'"
        ) from None


def _check_same(study: optuna.Study, text: str, name: str) -> None:
    before = study.user_attrs.get(_DESCRIPTION)
    if before is None and not study.trials:
        study.set_user_attr(_DESCRIPTION, text)
        return
    ours, theirs = json.loads(text), json.loads(before or "{}")
    other = [part for part in ours if ours[part] != theirs.get(part)]
    if other:
        raise ValueError(
            f"the study {name!r} was begun with another {', another '.join(other)}; give another name=, or call as then"
        )
