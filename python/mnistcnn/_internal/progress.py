"""Progress bar, shown in terminals and notebooks only."""

from __future__ import annotations

import sys
from typing import Any

# Counts and rates are omitted, so that loss, accuracy and validation accuracy fit into 80 columns.
_FORMAT = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook.

    An imported ipykernel is not sufficient, because other tools import it too.
    """
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class ProgressBar:
    """Progress bar for a number of images, with a title and current numbers; a wrapper of tqdm."""

    def __init__(self, total: int | None, *, enabled: bool, unit: str = "image") -> None:
        from tqdm.auto import tqdm

        interactive = sys.stderr.isatty() or in_notebook()  # not a log file
        disable = not (enabled and interactive)
        self._bar: Any = tqdm(total=total, unit=unit, disable=disable, file=sys.stderr, bar_format=_FORMAT)
        self._done = 0

    def show(self, done: int, *, title: str = "", **numbers: str) -> None:
        """Set the progress to ``done`` images, and optionally the title and the numbers beside the bar."""
        if title:
            self._bar.set_description_str(title, refresh=False)
        if numbers:
            self._bar.set_postfix(refresh=False, **numbers)
        self._bar.update(done - self._done)
        self._done = done

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
