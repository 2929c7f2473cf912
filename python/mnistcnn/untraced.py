"""What torch.compile must not look into, without loading the compiler where nobody compiles."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def untraced(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """As torch.compiler.disable, which by itself would add a second to every import of ours."""
    hidden: list[Callable[_Arguments, _Result]] = []

    @functools.wraps(function)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if not hidden:
            hidden.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return hidden[0](*args, **kwargs)

    return call
