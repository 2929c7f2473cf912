"""Methods that torch.compile leaves alone, without importing its compiler for everybody else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Result = TypeVar("Result")


def untraced(method: Callable[..., Result]) -> Callable[..., Result]:
    """As `torch.compiler.disable`, which imports `torch._dynamo` at once: more than a second of every start.

    Who compiles has imported it before the first call.
    """
    known: list[Callable[..., Result]] = []

    @wraps(method)
    def run(*values: Any, **options: Any) -> Result:
        if "torch._dynamo" not in sys.modules:
            return method(*values, **options)
        if not known:
            from torch.compiler import disable

            known.append(disable(method))  # type: ignore[no-untyped-call]
        return known[0](*values, **options)

    run._torchdynamo_disable = True  # type: ignore[attr-defined]
    return run
