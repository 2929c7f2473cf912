"""Arithmetic with values, numbers and parameters."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from mnistcnn.convert.errors import DirectParameterError, UnsupportedError
from mnistcnn.convert.operations import direct
from mnistcnn.convert.operations.builder import Builder, TracedValue
from mnistcnn.convert.operations.operations import Call, Handler
from mnistcnn.nn.layers import Amax, Reciprocal, ReLU


def absolute(call: Call, x: Any) -> TracedValue:
    """Return relu(x) + relu(-x)."""
    value, builder = call.value(x), call.builder
    negative = builder.scaled(value, -1.0, 0.0, f"{call.name}_minus")
    halves = [builder.pointwise(ReLU(), each, f"{call.name}_relu") for each in (value, negative)]
    return builder.sum(halves, call.name)


def add(call: Call, x: Any, other: Any, *, alpha: float = 1) -> TracedValue:
    """Return x + alpha * other, for values, numbers and parameters."""
    first, second = _operand(call, x), _operand(call, other)
    if isinstance(second, DirectParameterError):
        return _add_parameter(call, first, second, alpha)
    if isinstance(second, TracedValue) and alpha != 1:
        second = call.builder.scaled(second, alpha, 0.0, f"{call.name}_scale")
    elif not isinstance(second, TracedValue):
        second *= alpha
    if isinstance(first, DirectParameterError):
        return _add_parameter(call, second, first, 1)
    if isinstance(first, TracedValue) and isinstance(second, TracedValue):
        return call.builder.sum([first, second], call.name)
    value, number = (first, second) if isinstance(first, TracedValue) else (second, first)
    return call.builder.scaled(value, 1.0, number, call.name)


def _add_parameter(call: Call, value: Any, parameter: DirectParameterError, alpha: float) -> TracedValue:
    """Return ``value + alpha * parameter``. Raise ``parameter``, which is an exception, unless alpha is 1 or -1."""
    if not isinstance(value, TracedValue) or alpha not in (1, -1):
        raise parameter
    value = call.builder.scaled(value, alpha, 0.0, f"{call.name}_minus")
    return call.builder.scaled(direct.add(call.builder, value, parameter), alpha, 0.0, f"{call.name}_back")


def sub(call: Call, x: Any, other: Any, *, alpha: float = 1) -> TracedValue:
    """Return x - alpha * other."""
    return add(call, x, other, alpha=-alpha)


def rsub(call: Call, x: Any, other: Any, *, alpha: float = 1) -> TracedValue:
    """Return other - alpha * x."""
    return add(call, other, x, alpha=-alpha)


def neg(call: Call, x: Any) -> TracedValue:
    """Return -x."""
    return call.builder.scaled(call.value(x), -1.0, 0.0, call.name)


def mul(call: Call, x: Any, other: Any) -> TracedValue:
    """Return x * other, for values, numbers and parameters."""
    first, second = _operand(call, x), _operand(call, other)
    for value, parameter in ((first, second), (second, first)):
        if isinstance(parameter, DirectParameterError):
            if not isinstance(value, TracedValue):
                raise parameter
            return direct.multiply(call.builder, value, parameter)
    if isinstance(first, TracedValue) and isinstance(second, TracedValue):
        return call.builder.product(first, second, call.name)
    value, number = (first, second) if isinstance(first, TracedValue) else (second, first)
    return call.builder.scaled(value, number, 0.0, call.name)


def div(call: Call, x: Any, other: Any, *, rounding_mode: Any = None) -> TracedValue:
    """Return x / other, for values and numbers.

    The value is multiplied by the reciprocal of the divisor, which is within 1.5 ulp of the quotient.
    """
    if rounding_mode is not None:
        raise UnsupportedError(f"rounding_mode={rounding_mode!r} is not supported; its gradient is zero everywhere")
    first, second = _operand(call, x), _operand(call, other)
    for operand in (first, second):
        if isinstance(operand, DirectParameterError):
            raise operand
    if isinstance(second, TracedValue):
        inverse = call.builder.pointwise(Reciprocal(), second, f"{call.name}_reciprocal")
        if isinstance(first, TracedValue):
            return call.builder.product(first, inverse, call.name)
        return call.builder.scaled(inverse, first, 0.0, call.name)
    if second == 0:
        raise UnsupportedError("it divides by the constant 0")
    return call.builder.scaled(first, 1 / second, 0.0, call.name)


def rdiv(call: Call, x: Any, other: Any) -> TracedValue:
    """Return other / x."""
    return div(call, other, x)


def maximum(call: Call, x: Any, other: Any) -> TracedValue:
    """Return the elementwise maximum of two values. Equal values share the gradient, as in PyTorch."""
    return _larger_of(call, x, other, 1.0)


def minimum(call: Call, x: Any, other: Any) -> TracedValue:
    """Return the elementwise minimum of two values."""
    return _larger_of(call, x, other, -1.0)


def _larger_of(call: Call, x: Any, other: Any, sign: float) -> TracedValue:
    operands = [_operand(call, each) for each in (x, other)]
    for operand in operands:
        if isinstance(operand, DirectParameterError):
            raise operand
        if not isinstance(operand, TracedValue):
            raise UnsupportedError(
                "it compares with a constant; use torch.clamp or F.relu (their gradients differ where both are equal)"
            )
    builder = call.builder
    values = [builder.scaled(each, sign, 0.0, f"{call.name}_minus") for each in builder.broadcast(operands, "compares")]
    return builder.scaled(elementwise_maximum(builder, values, call.name), sign, 0.0, f"{call.name}_back")


def elementwise_maximum(builder: Builder, values: list[TracedValue], name: str) -> TracedValue:
    """Return the elementwise maximum of values of one shape."""
    size = math.prod(values[0].shape)
    rows = [replace(each, shape=(1, size, 1)) for each in values]
    stacked = builder.concat(rows, 0, f"{name}_stack")
    node = builder.node_in_shape(stacked, stacked.shape)
    return replace(builder.add(Amax(0), [node], (1, size, 1), name), shape=values[0].shape)


def power(call: Call, x: Any, exponent: Any) -> TracedValue:
    """Return x ** 2. Raise UnsupportedError for any other exponent."""
    if exponent != 2:
        raise UnsupportedError(f"it raises to the power {exponent}; only the power 2 is supported")
    value = call.value(x)
    return call.builder.product(value, value, call.name)


def _operand(call: Call, x: Any) -> Any:
    """Return an operand as a value, a number, or a parameter."""
    if isinstance(x, int | float | np.number):
        return float(x)
    try:
        return call.value(x)
    except DirectParameterError as parameter:
        return parameter
    except KeyError:
        if x.requires_grad:
            raise UnsupportedError(
                "it uses a tensor with requires_grad=True that is not a parameter of the module; assign it as "
                "nn.Parameter"
            ) from None
        if x.numel() == 1:
            return float(x)
        raise UnsupportedError(
            f"it uses a constant or random tensor {list(x.shape)}; only single numbers are supported"
        ) from None


def reciprocal(call: Call, x: Any) -> TracedValue:
    """Return 1 / x."""
    return call.builder.pointwise(Reciprocal(), call.value(x), call.name)


FUNCTIONS: dict[str, Handler] = {
    "abs": absolute, "absolute": absolute, "add": add, "sub": sub, "subtract": sub, "rsub": rsub, "neg": neg,
    "negative": neg, "mul": mul, "multiply": mul, "div": div, "divide": div, "true_divide": div, "rdiv": rdiv,
    "reciprocal": reciprocal, "pow": power, "maximum": maximum, "minimum": minimum,
}  # fmt: skip
