"""PyTorch's arithmetic with values, numbers and parameters."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from mnistcnn.convert.errors import DirectParameterError, RefusalError
from mnistcnn.convert.operations import direct
from mnistcnn.convert.operations.builder import Builder, Value
from mnistcnn.convert.operations.operations import Call, Handler
from mnistcnn.nn.layers import Amax, Reciprocal, ReLU


def absolute(call: Call, x: Any) -> Value:
    """What is positive of x and of minus x."""
    value, builder = call.value(x), call.builder
    minus = builder.scaled(value, -1.0, 0.0, f"{call.name}_minus")
    sides = [builder.pointwise(ReLU(), each, f"{call.name}_relu") for each in (value, minus)]
    return builder.sum(sides, call.name)


def add(call: Call, x: Any, y: Any, *, alpha: float = 1) -> Value:
    """A sum, or a shift by a number or a parameter."""
    first, second = _operand(call, x), _operand(call, y)
    if isinstance(second, DirectParameterError):
        return _plus_parameter(call, first, second, alpha)
    if isinstance(second, Value) and alpha != 1:
        second = call.builder.scaled(second, alpha, 0.0, f"{call.name}_scale")
    elif not isinstance(second, Value):
        second *= alpha
    if isinstance(first, DirectParameterError):
        return _plus_parameter(call, second, first, 1)
    if isinstance(first, Value) and isinstance(second, Value):
        return call.builder.sum([first, second], call.name)
    value, number = (first, second) if isinstance(first, Value) else (second, first)
    return call.builder.scaled(value, 1.0, number, call.name)


def _plus_parameter(call: Call, value: Any, parameter: DirectParameterError, alpha: float) -> Value:
    """``value + alpha * parameter``, with alpha 1 or -1."""
    if not isinstance(value, Value) or alpha not in (1, -1):
        raise parameter
    value = call.builder.scaled(value, alpha, 0.0, f"{call.name}_minus")
    return call.builder.scaled(direct.plus(call.builder, value, parameter), alpha, 0.0, f"{call.name}_back")


def sub(call: Call, x: Any, y: Any, *, alpha: float = 1) -> Value:
    """The first less the second."""
    return add(call, x, y, alpha=-alpha)


def rsub(call: Call, x: Any, y: Any, *, alpha: float = 1) -> Value:
    """The second less the first."""
    return add(call, y, x, alpha=-alpha)


def neg(call: Call, x: Any) -> Value:
    """Minus x."""
    return call.builder.scaled(call.value(x), -1.0, 0.0, call.name)


def mul(call: Call, x: Any, y: Any) -> Value:
    """A product, or a multiple by a number or a parameter."""
    first, second = _operand(call, x), _operand(call, y)
    for value, parameter in ((first, second), (second, first)):
        if isinstance(parameter, DirectParameterError):
            if not isinstance(value, Value):
                raise parameter
            return direct.times(call.builder, value, parameter)
    if isinstance(first, Value) and isinstance(second, Value):
        return call.builder.product(first, second, call.name)
    value, number = (first, second) if isinstance(first, Value) else (second, first)
    return call.builder.scaled(value, number, 0.0, call.name)


def div(call: Call, x: Any, y: Any, *, rounding_mode: Any = None) -> Value:
    """Divide by a number or by another value.

    A value is multiplied by the reciprocal of the divisor, which is within 1.5 ulp of the quotient.
    """
    if rounding_mode is not None:
        raise RefusalError(f"rounding_mode={rounding_mode!r} is not supported; its gradient is zero everywhere")
    first, second = _operand(call, x), _operand(call, y)
    for operand in (first, second):
        if isinstance(operand, DirectParameterError):
            raise operand
    if isinstance(second, Value):
        below = call.builder.pointwise(Reciprocal(), second, f"{call.name}_reciprocal")
        if isinstance(first, Value):
            return call.builder.product(first, below, call.name)
        return call.builder.scaled(below, first, 0.0, call.name)
    if second == 0:
        raise RefusalError("it divides by the constant 0")
    return call.builder.scaled(first, 1 / second, 0.0, call.name)


def rdiv(call: Call, x: Any, y: Any) -> Value:
    """Divide the second by the first."""
    return div(call, y, x)


def maximum(call: Call, x: Any, other: Any) -> Value:
    """Take the larger of two values as a maximum over their stack: equal values share the gradient, as in PyTorch."""
    return _larger(call, x, other, 1.0)


def minimum(call: Call, x: Any, other: Any) -> Value:
    """Take the smaller of two values."""
    return _larger(call, x, other, -1.0)


def _larger(call: Call, x: Any, other: Any, sign: float) -> Value:
    operands = [_operand(call, each) for each in (x, other)]
    for operand in operands:
        if isinstance(operand, DirectParameterError):
            raise operand
        if not isinstance(operand, Value):
            raise RefusalError(
                "it compares with a constant; use torch.clamp or F.relu (their gradients differ where both are equal)"
            )
    builder = call.builder
    values = [builder.scaled(each, sign, 0.0, f"{call.name}_minus") for each in builder.broadcast(operands, "compares")]
    return builder.scaled(largest_of(builder, values, call.name), sign, 0.0, f"{call.name}_back")


def largest_of(builder: Builder, values: list[Value], name: str) -> Value:
    """Take the elementwise maximum of values of one shape."""
    size = math.prod(values[0].shape)
    rows = [replace(each, shape=(1, size, 1)) for each in values]
    stacked = builder.concat(rows, 0, f"{name}_stack")
    node = builder.place(stacked, stacked.shape)
    return replace(builder.add(Amax(0), [node], (1, size, 1), name), shape=values[0].shape)


def power(call: Call, x: Any, exponent: Any) -> Value:
    """The square."""
    if exponent != 2:
        raise RefusalError(f"it raises to the power {exponent}; only the square is known")
    value = call.value(x)
    return call.builder.product(value, value, call.name)


def _operand(call: Call, x: Any) -> Any:
    """A value of the network, a number, or a parameter."""
    if isinstance(x, int | float):
        return float(x)
    try:
        return call.value(x)
    except DirectParameterError as parameter:
        return parameter
    except KeyError:
        if x.numel() == 1:
            return float(x)
        raise RefusalError(
            f"it computes with a constant or random tensor {list(x.shape)}; only single numbers are known"
        ) from None


def reciprocal(call: Call, x: Any) -> Value:
    """Compute 1 / x."""
    return call.builder.pointwise(Reciprocal(), call.value(x), call.name)


FUNCTIONS: dict[str, Handler] = {
    "abs": absolute, "absolute": absolute, "add": add, "sub": sub, "subtract": sub, "rsub": rsub, "neg": neg,
    "negative": neg, "mul": mul, "multiply": mul, "div": div, "divide": div, "true_divide": div, "rdiv": rdiv,
    "reciprocal": reciprocal, "pow": power, "maximum": maximum, "minimum": minimum,
}  # fmt: skip
