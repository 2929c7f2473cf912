"""Models in the child process of a fork."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

_MODELS: weakref.WeakSet[Model] = weakref.WeakSet()


def watch(model: Model) -> None:
    """Make a model usable in child processes, also if another thread runs it at the time of the fork."""
    _MODELS.add(model)


def _unlock_models() -> None:
    """Replace the locks that other threads held at the fork: those threads do not exist in the child process.

    Such a model gets new engines, because one of the old ones was in the middle of a call.
    """
    for model in list(_MODELS):
        if model._lock.acquire(blocking=False):  # not held, or held by this thread
            model._lock.release()
            continue
        model._lock = threading.RLock()
        model._engines, model._latest_engine = {}, None
        model._forget_forward()


os.register_at_fork(after_in_child=_unlock_models)
