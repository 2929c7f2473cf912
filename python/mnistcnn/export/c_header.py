"""Export of a model to one C99 header."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnistcnn._internal.atomic_files import write_whole
from mnistcnn._internal.suffixes import check_suffix
from mnistcnn.convert.from_torch import as_model, warn_without_normalization
from mnistcnn.export.lowering import lowered
from mnistcnn.export.program import Argument, Array, Call, Program, key_of

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model

_PRIMITIVES = Path(__file__).with_name("primitives.c")
_WIDTH = 110  # characters of a line of constants


def export_c(model: Model | nn.Module, path: str | Path) -> Path:
    """Write a model in evaluation mode to a C99 header that needs no other file and no dynamic memory.

    The header ``digit.h`` defines ``digit_predict(const uint8_t image[784], float out[10])``. The pixels are those of
    the data set, 0 to 255; they are normalized inside. ``out`` receives the outputs of the network. Batch norms are
    folded into the convolution before them. The comment at the beginning of the file states flash, RAM and
    multiply-accumulate operations.

    Parameters
    ----------
    model
        Model to export, or a PyTorch module, which is converted as by `mnistcnn.from_torch`.
    path
        Header to write. Its names begin with the name of the file. An existing file is replaced atomically.

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    ValueError
        If a layer is not supported: dropout in evaluation, or batch norm without running statistics. If the suffix of
        ``path`` is that of another format, such as ``.onnx``.

    Examples
    --------
    >>> import mnistcnn, tempfile
    >>> from pathlib import Path
    >>> model = mnistcnn.create_model("session7_net", seed=1)
    >>> path = mnistcnn.export_c(model, Path(tempfile.mkdtemp()) / "digit.h")
    >>> "void digit_predict(const uint8_t image[784], float out[10])" in path.read_text()
    True
    """
    path = check_suffix(path, ".h", ".c")
    module, model = model, as_model(model)
    program = lowered(model)
    warn_without_normalization(module, model)
    return write_whole(path, header(program, prefix_of(path)).encode())


def prefix_of(path: Path) -> str:
    """Return the prefix of the names in a header: the name of the file as a C identifier."""
    prefix = re.sub(r"\W+", "_", path.stem, flags=re.ASCII).strip("_")
    return prefix if prefix and not prefix[0].isdigit() else f"model_{prefix}".rstrip("_")


def header(program: Program, prefix: str) -> str:
    """Return the text of the header."""
    used = _used_primitives(program, prefix)
    includes = [
        "<stdint.h>",
        *(["<float.h>"] if "FLT_MAX" in used else []),
        *(["<math.h>"] if _uses_math(used) else []),
    ]
    parts = [
        _comment(program, prefix),
        f"#ifndef {prefix.upper()}_H\n#define {prefix.upper()}_H",
        "\n".join(f"#include {each}" for each in sorted(includes)),
        _definitions(program, prefix),
        *(_constant(array, name) for array, name in zip(program.arrays, _names(program, prefix), strict=True)),
        used,
        _predict(program, prefix),
        "#endif",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def flash(program: Program) -> int:
    """Return the bytes of the constants, without code."""
    width = int(_index_type(program)[3:-2]) // 8
    return sum(each.size * (4 if each.dtype == np.float32 else width) for each in program.arrays)


def ram(program: Program) -> int:
    """Return the bytes of the working memory."""
    return 4 * program.memory


def _comment(program: Program, prefix: str) -> str:
    image, work = math.prod(program.input_shape), f"{prefix}_WORK"
    kind = program.outputs.replace("_", "-")
    lines = [
        f"{program.name}: {program.parameters:,} parameters, written by mnistcnn.",
        "",
        f"Flash: {flash(program):,} bytes of constants, plus the code (about 1 to 6 kB).",
        f"RAM:   {ram(program):,} bytes, plus less than 500 bytes of stack. No dynamic memory.",
        f"MACs:  {program.macs:,} multiply-accumulate operations per image, float32.",
        "",
        f"    uint8_t image[{image}];  // [channels][height][width] = {list(program.input_shape)}, pixels 0 to 255",
        f"    float out[{program.output_size}];  // {kind}",
        f"    {prefix}_predict(image, out);",
        "",
        f"{prefix}_predict has a static buffer, so only one thread may call it at a time. {prefix}_predict_in",
        f"takes the buffer, {work} floats. Include this file in one source file; link with -lm.",
        "The code is valid C99 and valid C++. int must have at least 32 bits.",
    ]
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


def _definitions(program: Program, prefix: str) -> str:
    return (
        f"#define {prefix}_WORK {program.memory}\n"
        f"#ifdef __cplusplus\n#define {prefix}_RESTRICT __restrict\n#else\n#define {prefix}_RESTRICT restrict\n#endif\n"
        f"typedef {_index_type(program)} {prefix}_index;"
    )


def _index_type(program: Program) -> str:
    largest = max((int(np.abs(each).max()) for each in program.arrays if each.dtype != np.float32), default=0)
    return "int16_t" if largest < 2**15 else "int32_t"


def _names(program: Program, prefix: str) -> list[str]:
    return [f"{prefix}_c{index}" for index in range(len(program.arrays))]


def _constant(array: Array, name: str) -> str:
    prefix = name.rpartition("_")[0]
    kind = "float" if array.dtype == np.float32 else f"{prefix}_index"
    values = [_number(each) if kind == "float" else str(each) for each in array]
    lines = [""]
    for value in values:
        if len(lines[-1]) + len(value) > _WIDTH:
            lines.append("")
        lines[-1] += f"{value}, "
    body = "\n".join(f"  {line.rstrip()}" for line in lines)
    return f"static const {kind} {name}[{array.size}] = {{\n{body}\n}};"


def _number(value: float) -> str:
    """Return a number as a C literal of the nearest float32."""
    text = f"{value:.9g}"
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"


def _used_primitives(program: Program, prefix: str) -> str:
    """Return the functions that the program calls."""
    used = {call.primitive for call in program.calls} | {"copy"}
    functions = _PRIMITIVES.read_text(encoding="utf-8").strip().split("\n\n")
    chosen = [each for each in functions if re.search(r"PREFIX_(\w+)\(", each)[1] in used]  # type: ignore[index]
    return "\n\n".join(chosen).replace("PREFIX", prefix)


def _uses_math(code: str) -> bool:
    return re.search(r"\b(sqrt|exp|expm1|log|log1p|tanh|erf|fmin|fmax)f\(", code) is not None


def _predict(program: Program, prefix: str) -> str:
    image, size = math.prod(program.input_shape), program.output_size
    names = dict(zip(map(key_of, program.arrays), _names(program, prefix), strict=True))
    calls = [_call(call, names, prefix) for call in program.calls]
    signature = f"const uint8_t image[{image}], float out[{size}]"
    normalize = _normalize(program)
    body = "\n".join(
        f"  {line}" for line in [*normalize, *calls, f"{prefix}_copy(work + {program.output}, out, {size});"]
    )
    return (
        f"/* Compute the outputs with {prefix}_WORK floats of memory that the caller gives. */\n"
        f"static inline void {prefix}_predict_in({signature}, float work[{prefix}_WORK]) {{\n{body}\n}}\n\n"
        f"static inline void {prefix}_predict({signature}) {{\n"
        f"  static float work[{prefix}_WORK];\n  {prefix}_predict_in(image, out, work);\n}}"
    )


def _normalize(program: Program) -> Sequence[str]:
    _, height, width = program.input_shape
    size = height * width
    return [
        f"for (int i = {channel * size}; i < {(channel + 1) * size}; ++i) "
        f"work[{program.image} + i] = (float)image[i] * {_number(scale)} + {_number(shift)};"
        for channel, (scale, shift) in enumerate(zip(program.scale, program.shift, strict=True))
    ]


def _call(call: Call, names: dict[tuple[str, bytes], str], prefix: str) -> str:
    def text(argument: Argument) -> str:
        if isinstance(argument, np.ndarray):
            return names[key_of(argument)]
        return _number(argument) if isinstance(argument, float) else str(argument)

    places = [f"work + {offset}" for offset in call.offsets]
    return f"{prefix}_{call.primitive}({', '.join([*places, *map(text, call.arguments)])});"
