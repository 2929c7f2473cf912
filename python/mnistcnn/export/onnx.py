"""Export a model to an ONNX file, directly from its graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mnistcnn._internal.atomic_files import write_whole
from mnistcnn._internal.packages import missing_package
from mnistcnn._internal.suffixes import check_suffix
from mnistcnn.convert.from_torch import as_model, warn_without_normalization
from mnistcnn.nn.graph import INPUT

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model

OPSET = 20  # first opset with Gelu
_IR_VERSION = 9  # supported by older runtimes
Fields = dict[str, Any]
Shape = tuple[int, ...]


def export_onnx(model: Model | nn.Module, path: str | Path, *, pixels: bool = False) -> Path:
    """Write a model in evaluation mode to an ONNX file, for example for onnxruntime.

    The batch size is dynamic. The input is named ``images``. The output is named ``log_probabilities``,
    ``probabilities`` or ``logits``, according to ``model.outputs``. Requires the package ``onnx``.

    Parameters
    ----------
    model
        Model to export, or a PyTorch module, which is converted as by `mnistcnn.from_torch`.
    path
        File to write. An existing file is replaced atomically.
    pixels
        True: the input is uint8 [N, C, H, W], and the file includes the model's normalization. False: the input is
        float32, without normalization. Default: False.

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    ValueError
        If ONNX does not support a layer: dropout in evaluation, or batch norm without running statistics. If the suffix
        of ``path`` is that of another format, such as ``.pt``.
    ImportError
        If the package ``onnx`` is not installed.

    Examples
    --------
    >>> import mnistcnn, tempfile
    >>> from pathlib import Path
    >>> model = mnistcnn.Model([mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)])
    >>> folder = tempfile.mkdtemp()
    >>> mnistcnn.export_onnx(model, Path(folder) / "model.onnx").name
    'model.onnx'
    """
    try:
        import onnx
    except ImportError:
        raise missing_package("exporting to ONNX", "onnx") from None
    path = check_suffix(path, ".onnx")
    module, model = model, as_model(model)
    if pixels:
        warn_without_normalization(module, model)
    document = _Writer(model, onnx).document(pixels=pixels)
    onnx.checker.check_model(document, full_check=True)
    return write_whole(path, document.SerializeToString())


class _Writer:
    """Writer of the ONNX nodes and constants of a model."""

    def __init__(self, model: Model, onnx: Any) -> None:
        self.model, self.helper, self._onnx = model, onnx.helper, onnx
        self._output_shapes = {row["name"]: tuple(row["output_shape"]) for row in model._network.nodes}
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.name = "images"  # name of the current node
        self.tensors = model.named_tensors()

    def document(self, *, pixels: bool) -> Any:
        model, helper, types = self.model, self.helper, self._onnx.TensorProto
        values = {INPUT: self._normalized() if pixels else "images"}
        rows = model._network.nodes
        for index, row in enumerate(rows):
            self.name = row["name"]
            inputs = [values[each] for each in row["inputs"]]
            values[index] = _WRITERS[row["op"]](self, inputs, row["fields"], tuple(row["input_shapes"][0]))
        output = str(model.outputs)
        self.nodes.append(helper.make_node("Identity", [values[len(rows) - 1]], [output], name=output))
        kind = types.UINT8 if pixels else types.FLOAT
        graph = helper.make_graph(
            self.nodes,
            model.name,
            [helper.make_tensor_value_info("images", kind, ["N", *model.input_shape])],
            [helper.make_tensor_value_info(output, types.FLOAT, ["N", *model.output_shape])],
            [self._onnx.numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="mnistcnn")

    def _normalized(self) -> str:
        normalization, shape = self.model.pixel_normalization, (-1, 1, 1)
        floats = self.add("Cast", ["images"], to=self._onnx.TensorProto.FLOAT)
        scale = self.constant("scale", np.array(normalization.scale, np.float32).reshape(shape))
        shift = self.constant("shift", np.array(normalization.shift, np.float32).reshape(shape))
        return self.add("Add", [self.add("Mul", [floats, scale]), shift])

    def add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """Add an ONNX node and return the name of its output."""
        output = f"{self.name}/{op}_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """Add a constant of the current node and return its name."""
        full = f"{self.name}.{name}"
        self.constants[full] = np.ascontiguousarray(value)
        return full

    def int64_constant(self, name: str, values: Any) -> str:
        """Add an int64 constant, such as a shape."""
        return self.constant(name, np.array(list(values), np.int64))

    def tensor(self, key: str, shape: Shape | None = None, default: float = 0.0) -> str:
        """Add a parameter or buffer of the current node; a constant array if the node does not have it."""
        tensor: torch.Tensor | None = self.tensors.get(f"{self.name}.{key}")
        if tensor is None:
            assert shape is not None
            return self.constant(key, np.full(shape, default, np.float32))
        return self.constant(key, tensor.detach().cpu().numpy().reshape(shape or tuple(tensor.shape)).copy())

    def has(self, key: str) -> bool:
        """Return whether the current node has this parameter or buffer."""
        return f"{self.name}.{key}" in self.tensors

    def output_shape(self) -> Shape:
        """Return the output shape of the current node, for one image."""
        return self._output_shapes[self.name]

    def unsupported(self, what: str) -> ValueError:
        """Return the error for a node that ONNX does not support."""
        return ValueError(f"layer '{self.name}': {what}")


# ---- one function per layer: (writer, names of its inputs, fields, shape of its first input) -> name of its output


def _conv(w: _Writer, inputs: list[str], f: Fields, shape: Shape) -> str:
    top, bottom, left, right = f["padding"]
    weights = [w.tensor("weight", (f["out_channels"], shape[0] // f["groups"], *f["kernel"]))]
    weights += [w.tensor("bias")] if f["bias"] else []
    options = {"strides": f["stride"], "dilations": f["dilation"], "kernel_shape": f["kernel"], "group": f["groups"]}
    return w.add("Conv", [*inputs, *weights], pads=[top, left, bottom, right], **options)


def _linear(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    bias = [w.tensor("bias")] if f["bias"] else []
    return w.add("Gemm", [*inputs, w.tensor("weight"), *bias], transB=1)


def _running_norm(w: _Writer, inputs: list[str], f: Fields, shape: Shape) -> str:
    if not f["track_running_stats"]:
        raise w.unsupported(
            "a batch norm without running statistics depends on the whole batch, which ONNX does not support"
        )
    size = (shape[0],)
    names = [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)]
    tensors = [w.tensor(key, size, default) for key, default in names]
    return w.add("BatchNormalization", [*inputs, *tensors], epsilon=f["eps"])


def _instance_norm(w: _Writer, inputs: list[str], f: Fields, shape: Shape) -> str:
    if f["track_running_stats"]:
        return _running_norm(w, inputs, f, shape)
    scale, shift = w.tensor("weight", (shape[0],), 1.0), w.tensor("bias", (shape[0],))
    return w.add("InstanceNormalization", [*inputs, scale, shift], epsilon=f["eps"])


def _group_norm(w: _Writer, inputs: list[str], f: Fields, shape: Shape) -> str:
    groups = f["groups"]
    grouped = w.add("Reshape", [*inputs, w.int64_constant("groups", (0, groups, -1))])
    ones = w.constant("one", np.ones(groups, np.float32))
    zeros = w.constant("zero", np.zeros(groups, np.float32))
    normal = w.add("InstanceNormalization", [grouped, ones, zeros], epsilon=f["eps"])
    output = w.add("Reshape", [normal, w.int64_constant("shape", (0, *shape))])
    if not w.has("weight"):
        return output
    per_channel = (shape[0],) + (1,) * (len(shape) - 1)
    return w.add("Add", [w.add("Mul", [output, w.tensor("weight", per_channel)]), w.tensor("bias", per_channel)])


def _layer_norm(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    shape = tuple(f["normalized_shape"])
    weights = [w.tensor("weight", shape, 1.0), *([w.tensor("bias")] if w.has("bias") else [])]
    return w.add("LayerNormalization", [*inputs, *weights], axis=-len(shape), epsilon=f["eps"])


def _end_padding(f: Fields, shape: Shape, out: Shape, dilation: Shape) -> list[int]:
    """Return the extra padding (rows, columns) at the end that ceil_mode requires."""
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, f["kernel"], strict=True)]
    sizes = [size + 2 * p for size, p in zip(shape[1:], f["padding"], strict=True)]
    return [max(0, (o - 1) * s + r - n) for o, s, r, n in zip(out[1:], f["stride"], reach, sizes, strict=True)]


def _max_pool(w: _Writer, inputs: list[str], f: Fields, shape: Shape) -> str:
    rows, columns = f["padding"]
    extra = _end_padding(f, shape, w.output_shape(), f["dilation"])
    pads = [rows, columns, rows + extra[0], columns + extra[1]]
    options = {"kernel_shape": f["kernel"], "strides": f["stride"], "dilations": f["dilation"], "pads": pads}
    return w.add("MaxPool", inputs, **options)


def _avg_pool(w: _Writer, inputs: list[str], f: Fields, shape: Shape) -> str:
    """Add an average pool. Zeros that count are padded first; padding of ceil_mode never counts."""
    rows, columns = f["padding"]
    extra = _end_padding(f, shape, w.output_shape(), (1, 1))
    if f["count_include_pad"] and (rows or columns):
        pads = w.int64_constant("pads", (0, 0, rows, columns, 0, 0, rows, columns))
        inputs, rows, columns = [w.add("Pad", [*inputs, pads])], 0, 0
    pads_of_pool = [rows, columns, rows + extra[0], columns + extra[1]]
    options = {"kernel_shape": f["kernel"], "strides": f["stride"], "pads": pads_of_pool}
    return w.add("AveragePool", inputs, count_include_pad=0, **options)


def _adaptive_avg_pool(w: _Writer, inputs: list[str], f: Fields, shape: Shape) -> str:
    """Add an adaptive average pool as matrix products with constant matrices of means over rows and columns."""
    if f["output"] == (1, 1):
        return w.add("GlobalAveragePool", inputs)
    rows = w.constant("rows", _mean_matrix(shape[1], f["output"][0]))
    columns = w.constant("columns", _mean_matrix(shape[2], f["output"][1]).T)
    return w.add("MatMul", [w.add("MatMul", [rows, *inputs]), columns])


def _mean_matrix(inputs: int, outputs: int) -> Any:
    matrix = np.zeros((outputs, inputs), np.float32)
    for i in range(outputs):
        begin, end = i * inputs // outputs, -((i + 1) * inputs // -outputs)
        matrix[i, begin:end] = 1 / (end - begin)
    return matrix


def _prelu(w: _Writer, inputs: list[str], f: Fields, shape: Shape) -> str:
    per_channel = (f["count"],) + (1,) * (len(shape) - 1)
    return w.add("PRelu", [*inputs, w.tensor("weight", per_channel)])


def _relu6(w: _Writer, inputs: list[str], *_: Any) -> str:
    bounds = [w.constant("low", np.float32(0)), w.constant("high", np.float32(6))]
    return w.add("Clip", [*inputs, *bounds])


def _silu(w: _Writer, inputs: list[str], *_: Any) -> str:
    return w.add("Mul", [*inputs, w.add("Sigmoid", inputs)])


def _softplus(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    """Add a softplus. Return the input itself above the threshold, as PyTorch does."""
    beta, threshold = (w.constant(name, np.float32(f[name])) for name in ("beta", "threshold"))
    scaled = w.add("Mul", [*inputs, beta])
    curve = w.add("Div", [w.add("Softplus", [scaled]), beta])
    return w.add("Where", [w.add("Greater", [scaled, threshold]), *inputs, curve])


def _dropout(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    if f["always"] and f["probability"] > 0:
        raise w.unsupported(
            "dropout in evaluation draws random numbers, which is not supported; set training=self.training in the "
            "forward"
        )
    return inputs[0]


def _add(w: _Writer, inputs: list[str], *_: Any) -> str:
    return w.add("Sum", inputs)


def _reshape(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    return w.add("Reshape", [*inputs, w.int64_constant("shape", (0, *f["shape"]))])


def _pad(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    top, bottom, left, right = f["padding"]
    mode = {"replicate": "edge", "circular": "wrap"}.get(f["mode"], f["mode"])
    return w.add("Pad", [*inputs, w.int64_constant("pads", (0, 0, top, left, 0, 0, bottom, right))], mode=mode)


def _permute(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    return w.add("Transpose", inputs, perm=[0, *(each + 1 for each in f["order"])])


def _slice(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    parts = {"start": f["start"], "stop": f["stop"], "axis": f["dimension"] + 1, "step": f["step"]}
    return w.add("Slice", [*inputs, *(w.int64_constant(name, [value]) for name, value in parts.items())])


def _expand(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    return w.add("Expand", [*inputs, w.int64_constant("shape", (1, *f["shape"]))])


def _amax(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    return w.add("ReduceMax", [*inputs, w.int64_constant("axes", [f["dimension"] + 1])], keepdims=1)


def _scale_shift(w: _Writer, inputs: list[str], f: Fields, _: Shape) -> str:
    scale, shift = (w.constant(name, np.float32(f[name])) for name in ("scale", "shift"))
    return w.add("Add", [w.add("Mul", [*inputs, scale]), shift])


def _single_node(op: str, **attributes: Any) -> Callable[..., str]:
    return lambda w, inputs, *_: w.add(op, inputs, **attributes)


_WRITERS: dict[str, Callable[..., str]] = {
    **{"conv2d": _conv, "linear": _linear, "batchnorm2d": _running_norm, "batchnorm1d": _running_norm},
    **{"instancenorm2d": _instance_norm, "groupnorm": _group_norm, "layernorm": _layer_norm},
    **{"maxpool2d": _max_pool, "avgpool2d": _avg_pool, "adaptive_avgpool2d": _adaptive_avg_pool},
    **{"flatten": _single_node("Flatten", axis=1), "relu": _single_node("Relu"), "tanh": _single_node("Tanh")},
    **{"sigmoid": _single_node("Sigmoid"), "hardswish": _single_node("HardSwish"), "silu": _silu, "relu6": _relu6},
    **{"mish": _single_node("Mish"), "softplus": _softplus, "reciprocal": _single_node("Reciprocal")},
    "leaky_relu": lambda w, inputs, f, _: w.add("LeakyRelu", inputs, alpha=f["negative_slope"]),
    "elu": lambda w, inputs, f, _: w.add("Elu", inputs, alpha=f["alpha"]),
    "gelu": lambda w, i, f, _: w.add("Gelu", i, approximate="tanh" if f["tanh_approximation"] else "none"),
    **{"prelu": _prelu, "dropout": _dropout, "dropout2d": _dropout},
    **{"log_softmax": _single_node("LogSoftmax", axis=1), "softmax": _single_node("Softmax", axis=1)},
    **{"add": _add, "multiply": _single_node("Mul"), "concat": _single_node("Concat", axis=1), "reshape": _reshape},
    **{"expand": _expand, "pad": _pad, "permute": _permute, "slice": _slice, "amax": _amax},
    **{"detach": _single_node("Identity"), "scale_shift": _scale_shift},
}
