"""The bar of long work: in a terminal or a notebook, and nowhere else."""

from __future__ import annotations

import sys
from typing import Any

# Neither counts nor rates: in 80 columns there shall be room for loss, accuracy and validation.
_FORMAT = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel. An imported ipykernel doesn't say so: other tools use it too."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class ProgressBar:
    """Counts images; says what the run is doing. Drawing is tqdm's, and throttled by it."""

    def __init__(self, total: int | None, *, enabled: bool, unit: str = "image") -> None:
        from tqdm.auto import tqdm

        watched = sys.stderr.isatty() or in_notebook()  # a terminal or a notebook, not a log file
        disable = not (enabled and watched)
        self._bar: Any = tqdm(total=total, unit=unit, disable=disable, file=sys.stderr, bar_format=_FORMAT)
        self._done = 0

    def show(self, done: int, *, title: str = "", **numbers: str) -> None:
        """Moves to ``done`` of the total."""
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
