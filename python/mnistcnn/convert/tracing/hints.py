"""Groups of PyTorch's functions by what they read, and advice for operations that are not supported."""

from __future__ import annotations

# Functions that read values of a tensor: later operations may depend on them.
READS_VALUES = {
    *("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__array__", "equal", "allclose"),
    *("is_nonzero", "__contains__", "__complex__"),
}

# Functions that read properties of a tensor or print it.
READS_PROPERTIES = {
    *("shape", "size", "dim", "ndim", "ndimension", "__len__", "numel", "nelement", "stride", "is_contiguous", "dtype"),
    *("device", "requires_grad", "is_floating_point", "__repr__", "__str__", "__format__", "layout", "is_cuda"),
    *("get_device", "data_ptr", "grad", "grad_fn", "is_leaf", "_version", "__hash__", "storage_offset"),
    *("register_hook", "retain_grad"),
}

# Functions that read or convert the dtype of a tensor, besides `to`.
READS_DTYPE = {"dtype", "is_floating_point", "float", "double", "half", "bfloat16", "type", "type_as"}

# Functions whose result depends on PyTorch's autograd graph.
READS_AUTOGRAD_GRAPH = {"requires_grad", "grad_fn", "is_leaf", "register_hook", "retain_grad"}

_RECURRENT = "mnistcnn supports feed-forward networks only; train recurrent networks with PyTorch"
_TRANSFORMER = "train transformers with PyTorch"
_RESIZING = "resize the images beforehand, or use strides and pooling"
_TRANSPOSED = "use strides and pooling; train networks whose outputs are images with PyTorch"
_SAMPLING = "train networks with spatial transformers with PyTorch"
_ACTIVATION = "use SiLU, GELU, ELU, LeakyReLU or another activation of mnistcnn"
_ALPHA = "use Dropout, or BatchNorm2d with ReLU instead of SELU with AlphaDropout"
_RANDOM = "use Dropout or Dropout2d; train networks that use other random numbers with PyTorch"
_NORM = "use a module, such as self.bn = nn.BatchNorm2d(channels)"
_PRODUCT = "matrix products are supported as nn.Linear only"

_DEFAULT = "use supported layers for this part, or train this network with PyTorch"

_HINTS = {
    **dict.fromkeys(("LSTM", "GRU", "RNN", "lstm", "gru", "rnn_tanh", "rnn_relu", "LSTMCell", "GRUCell"), _RECURRENT),
    **dict.fromkeys(("MultiheadAttention", "Transformer", "TransformerEncoderLayer"), _TRANSFORMER),
    **dict.fromkeys(("TransformerEncoder", "scaled_dot_product_attention"), _TRANSFORMER),
    **dict.fromkeys(("interpolate", "upsample", "Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), _RESIZING),
    **dict.fromkeys(("conv_transpose2d", "ConvTranspose2d"), _TRANSPOSED),
    **dict.fromkeys(("grid_sample", "affine_grid"), _SAMPLING),
    **dict.fromkeys(("Softsign", "softsign", "LogSigmoid", "logsigmoid", "GLU", "glu"), _ACTIVATION),
    **dict.fromkeys(("RReLU", "rrelu", "Hardshrink", "Softshrink", "Threshold"), _ACTIVATION),
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout", "AlphaDropout", "FeatureAlphaDropout"), _ALPHA),
    **dict.fromkeys(("bernoulli", "bernoulli_", "rand_like", "randn_like", "normal_", "uniform_"), _RANDOM),
    **dict.fromkeys(("batch_norm", "instance_norm", "layer_norm", "group_norm", "std", "var", "var_mean"), _NORM),
    **dict.fromkeys(("LocalResponseNorm", "local_response_norm"), "remove it or use BatchNorm2d"),
    **dict.fromkeys(("matmul", "mm", "bmm", "einsum", "addmm", "__matmul__"), _PRODUCT),
    **dict.fromkeys(("argmax", "topk", "sort"), "let `forward` end with logits or log-probabilities"),
    "Bilinear": _PRODUCT,
}  # fmt: skip


def hint_for(name: str) -> str:
    """Return what to do instead of an unsupported operation, after a semicolon."""
    return f"; {_HINTS.get(name, _DEFAULT)}"
