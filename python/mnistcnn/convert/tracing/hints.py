"""What to do instead, for operations that are often met and not known."""

from __future__ import annotations

# Reading a number out of a tensor: what follows may depend on it.
LOOKS_AT_NUMBERS = {
    *("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__array__", "equal", "allclose"),
    *("is_nonzero", "__contains__", "__complex__"),
}

# Asking a tensor what it is like, or showing it.
NO_VALUE = {
    *("shape", "size", "dim", "ndim", "ndimension", "__len__", "numel", "nelement", "stride", "is_contiguous", "dtype"),
    *("device", "requires_grad", "is_floating_point", "__repr__", "__str__", "__format__", "layout", "is_cuda"),
    *("get_device", "data_ptr", "grad", "grad_fn", "is_leaf", "_version", "__hash__", "storage_offset"),
    *("register_hook", "retain_grad"),
}

# What depends on PyTorch's own record of the operations.
GRADIENT_QUESTIONS = {"requires_grad", "grad_fn", "is_leaf", "register_hook", "retain_grad"}

_RECURRENT = "mnistcnn runs feed-forward networks only; train recurrent ones with PyTorch"
_TRANSFORMER = "mnistcnn has no attention; train transformers with PyTorch"
_SCALES = "mnistcnn has no interpolation; resize the images before, or use strides and pools"
_TRANSPOSED = "mnistcnn has no transposed convolutions; it is made for classifiers"
_SAMPLING = "mnistcnn has no spatial transformers; train this network with PyTorch"
_ACTIVATION = "use SiLU, GELU, ELU, LeakyReLU or another activation of mnistcnn"
_ALPHA = "use Dropout, or BatchNorm2d with ReLU in place of SELU with AlphaDropout"
_RANDOM = "use Dropout or Dropout2d; train networks that draw other random numbers with PyTorch"
_NORM = "use a module, such as self.bn = nn.BatchNorm2d(channels)"
_PRODUCT = "matrix products are known as nn.Linear only"

_ANY = "write that part with layers that it knows, or train this network with PyTorch"

_HINTS = {
    **dict.fromkeys(("LSTM", "GRU", "RNN", "lstm", "gru", "rnn_tanh", "rnn_relu", "LSTMCell", "GRUCell"), _RECURRENT),
    **dict.fromkeys(("MultiheadAttention", "Transformer", "TransformerEncoderLayer"), _TRANSFORMER),
    **dict.fromkeys(("TransformerEncoder", "scaled_dot_product_attention"), _TRANSFORMER),
    **dict.fromkeys(("interpolate", "upsample", "Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), _SCALES),
    **dict.fromkeys(("conv_transpose2d", "ConvTranspose2d"), _TRANSPOSED),
    **dict.fromkeys(("grid_sample", "affine_grid"), _SAMPLING),
    **dict.fromkeys(("Softsign", "softsign", "LogSigmoid", "logsigmoid", "GLU", "glu"), _ACTIVATION),
    **dict.fromkeys(("RReLU", "rrelu", "Hardshrink", "Softshrink", "Threshold"), _ACTIVATION),
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout", "AlphaDropout", "FeatureAlphaDropout"), _ALPHA),
    **dict.fromkeys(("bernoulli", "bernoulli_", "rand_like", "randn_like", "normal_", "uniform_"), _RANDOM),
    **dict.fromkeys(("batch_norm", "instance_norm", "layer_norm", "group_norm", "std", "var", "var_mean"), _NORM),
    **dict.fromkeys(("LocalResponseNorm", "local_response_norm"), "leave it out or use BatchNorm2d"),
    **dict.fromkeys(("matmul", "mm", "bmm", "einsum", "addmm", "__matmul__"), _PRODUCT),
    **dict.fromkeys(("argmax", "topk", "sort"), "let the forward end with logits or log-probabilities"),
    "Bilinear": _PRODUCT,
}  # fmt: skip


def hint_for(name: str) -> str:
    """What to do instead, after a semicolon."""
    return f"; {_HINTS.get(name, _ANY)}"
