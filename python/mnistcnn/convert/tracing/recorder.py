"""Run the ``forward`` of a module on real tensors and record its operations as a graph.

``forward`` itself is executed. Conditions on shapes, loops, lists of modules and helper functions therefore need no
analysis. `Recorder.__torch_function__` handles each function of torch that takes a recorded value, and
`Recorder._call_module` each call of a module.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError, DirectParameterError, UnsupportedError, source_line
from mnistcnn.convert.operations import arithmetic, dropouts, operations, pools, shapes
from mnistcnn.convert.operations.builder import Builder, Shape, TracedValue
from mnistcnn.convert.operations.operations import Call
from mnistcnn.convert.operations.torch_modules import handler_of
from mnistcnn.convert.side_effects import SideEffect
from mnistcnn.convert.tracing.hints import READS_AUTOGRAD_GRAPH, READS_DTYPE, READS_PROPERTIES, READS_VALUES, hint_for
from mnistcnn.nn.graph import INPUT
from mnistcnn.nn.layers import Amax, Concat, Detach, Expand, Flatten, MaxPool2d, Pad, Permute, ReLU, Reshape, Slice

_TABLES = (operations, arithmetic, dropouts, pools, shapes)
_HANDLERS = {name: handler for table in _TABLES for name, handler in table.FUNCTIONS.items()}
_OPERATORS = {
    "__add__": "add", "__radd__": "add", "__iadd__": "add", "__sub__": "sub", "__isub__": "sub", "__rsub__": "rsub",
    "__mul__": "mul", "__rmul__": "mul", "__imul__": "mul", "__truediv__": "div", "__itruediv__": "div",
    "__rtruediv__": "rdiv", "__rdiv__": "rdiv",
    "__neg__": "neg", "__pow__": "pow", "__ipow__": "pow", "__getitem__": "getitem", "max_pool2d_with_indices":
    "max_pool2d", "_max_pool2d": "max_pool2d",
}  # fmt: skip
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_CHANGED_ALIAS = (
    "its input was changed in place: in evaluation, the output of a dropout is its input; avoid the in-place operation"
)
# Functions that compute floats from integer images: PyTorch does not normalize these, and `Model.prepare` does.
_PROMOTING = {*arithmetic.FUNCTIONS, "sigmoid", "tanh", "sum"}
_KEEPS_DTYPE = (Slice, Permute, Flatten, Reshape, Expand, Concat, Pad, ReLU, MaxPool2d, Amax, Detach)
_FOREIGN = "it takes a tensor that is not computed from `forward`'s input by operations of torch"


class Recorder(TorchFunctionMode):
    """Recorder of the graph of one run of a module's ``forward``."""

    def __init__(
        self,
        module: nn.Module,
        example: torch.Tensor,
        input_shape: Shape,
        image_shape: Shape,
        reads: AttributeReads,
        *,
        fuse_bias: bool = True,
    ) -> None:
        super().__init__()
        self._module, self._reads = module, reads
        self._batch = len(example)
        self._paths = {id(each): path for path, each in module.named_modules()}
        tensors = [*module.named_parameters(), *module.named_buffers()]
        self._tensor_names = {id(tensor): name for name, tensor in reversed(tensors)}
        self._path_names = set(self._paths.values())
        self.builder = Builder(input_shape, self._path_names, fuse_bias=fuse_bias)
        self._storages = {
            _storage_of(tensor): (kind, path, key)
            for path, each in module.named_modules()
            for kind, held in (("parameter", each._parameters), ("buffer", each._buffers))
            for key, tensor in held.items()
            if tensor is not None and not nn.parameter.is_lazy(tensor) and tensor.numel() > 0
            if kind == "parameter" or not isinstance(each, nn.modules.batchnorm._NormBase)
        }
        self._recorded: dict[
            int, tuple[torch.Tensor, int, TracedValue | UnsupportedError]
        ] = {}  # by id: tensor, version, value or error
        self._dropout_aliases: dict[int, torch.Tensor] = {}  # by id: input of a dropout for its output, and vice versa
        self._without_gradient: set[int] = set()  # tensors that were computed under torch.no_grad()
        self.effects: list[SideEffect] = []
        self.depends_on_dtype = False  # whether `forward` reads or converts the dtype of the images
        self._scopes: list[nn.Module] = [module]
        self._within_layer = False
        self._example = example
        for name, parameter in module.named_parameters():
            self._register(parameter, DirectParameterError(name, tuple(parameter.shape)))
        self._register(example, TracedValue(INPUT, image_shape))

    def run(self) -> Any:
        """Run ``forward`` and return its outputs."""
        with self, self._intercepted_module_calls():
            return _run_forward(self, self._module, self._example)

    def value(self, tensor: Any) -> TracedValue:
        """Return the recorded value of a tensor. Raise KeyError for a tensor that was not recorded."""
        if not isinstance(tensor, torch.Tensor):
            raise UnsupportedError(f"it takes {type(tensor).__name__} {tensor!r}, not a tensor")
        _, version, what = self._recorded[id(tensor)]
        if isinstance(what, UnsupportedError):
            raise what
        if tensor._version != version:
            raise UnsupportedError("its input was changed in place through another view; avoid the in-place operation")
        with torch._C.DisableTorchFunction():  # `forward` does not read it
            requires_grad = tensor.requires_grad
        if id(tensor) in self._without_gradient and torch.is_grad_enabled() and not requires_grad:
            self._without_gradient.discard(id(tensor))
            what = self.builder.pointwise(Detach(), what, "detach")
            self._register(tensor, what)
        return what

    def is_recorded(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor is a recorded value."""
        return isinstance(self._recorded.get(id(tensor), (None, None, None))[2], TracedValue)

    # ---- functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch and record it if it takes a recorded value."""
        kwargs = kwargs or {}
        if not self._within_layer:
            self._record_write(func, args, kwargs)
        if self._within_layer or not self._takes_recorded_value(args, kwargs):
            return func(*args, **kwargs)
        name = _name_of(func)
        self.depends_on_dtype = self.depends_on_dtype or self._uses_dtype(name, args, kwargs)
        if name in READS_VALUES:
            raise ConversionError(
                f"{source_line()}: `forward` reads values of a tensor ({name}), so its operations may depend on the "
                "images; let it depend on shapes only, or read the outputs outside `forward`"
            )
        version = getattr(args[0], "_version", None) if args else None
        is_dropout = name in dropouts.FUNCTIONS
        with self._restored_random_state():
            result = _dropout_as_identity(args, {**kwargs, **_inplace(func)}) if is_dropout else func(*args, **kwargs)
        if name == "requires_grad":
            self._record_read_of_requires_grad(args[0])
        if name in READS_AUTOGRAD_GRAPH and self.is_recorded(args[0]):
            self.effects.append(SideEffect(f"it uses {name} of a tensor ({source_line()})"))
        if name in READS_PROPERTIES or not _has_tensor(result):
            return result
        self._changed_in_place(result, args, version, is_dropout=is_dropout)
        call = self._call(self._node_name(name), result, self._scopes[-1])
        handler = _HANDLERS.get(name)
        if version is not None and result is args[0] and result._version != version and _ignored_by_autograd(result):
            handler = _unsupported_handler("it changes a tensor with a gradient in place under torch.no_grad()")
        self._record_call(call, result, f"the function {name}", handler, _renamed(args, kwargs), name)
        return result

    def _record_read_of_requires_grad(self, tensor: Any) -> None:
        what = self._recorded.get(id(tensor), (None, None, None))[2]
        if isinstance(what, DirectParameterError):
            path, _, key = what.name.rpartition(".")
            self._reads.add(path, key)

    def _record_write(self, func: Any, args: Any, kwargs: Any) -> None:
        """Add a side effect if a function writes to a parameter or buffer, even if the values are the same."""
        target = kwargs.get("out", args[0] if args and _writes(func) else None)
        place = self._storages.get(_storage_of(target)) if isinstance(target, torch.Tensor) else None
        if place is not None:
            kind, path, key = place
            name = f"{path}.{key}" if path else key
            self.effects.append(SideEffect(f"it changes the {kind} '{name}'", (path, key), is_state=True))

    def _apply_function(self, original: Any, kind: Any, args: Any, kwargs: Any) -> Any:
        """Run a `torch.autograd.Function`, whose backward pass the engine does not know."""
        if self._within_layer or not self._takes_recorded_value(args, kwargs):
            return original(*args, **kwargs)
        self._within_layer = True
        try:
            result = original(*args, **kwargs)
        finally:
            self._within_layer = False
        name = kind.__name__
        call = self._call(self._node_name(name.lower()), result, self._scopes[-1])
        self._record_call(call, result, f"the autograd function {name}", None, (args, kwargs), name)
        return result

    def _takes_recorded_value(self, args: Any, kwargs: Any) -> bool:
        return any(id(each) in self._recorded for each in _tensors((args, kwargs)))

    def _uses_dtype(self, name: str, args: Any, kwargs: Any) -> bool:
        """Return whether a function reads or converts the dtype of the images, or promotes integers to floats."""
        if _reads_dtype(name, args, kwargs):
            return bool(args) and self._holds_images(args[0])
        return name in _PROMOTING and any(self._holds_images(each) for each in _tensors((args, kwargs)))

    def _holds_images(self, tensor: Any) -> bool:
        """Return whether a tensor is the images, or has their dtype: a view, a crop, or another rearrangement."""
        what = self._recorded.get(id(tensor), (None, None, None))[2]
        nodes = [what.node] if isinstance(what, TracedValue) else []
        while nodes:
            node = nodes.pop()
            if node == INPUT:
                return True
            if isinstance(self.builder.nodes[node].layer, _KEEPS_DTYPE):
                nodes += self.builder.nodes[node].inputs
        return False

    def _changed_in_place(self, result: Any, args: Any, version: int | None, *, is_dropout: bool) -> None:
        """Keep the recorded value of an input that an operation has overwritten, for the handler of the operation.

        In evaluation, the output of a dropout is its input, so a later change of one changes the other too.
        """
        if args and result is args[0] and id(result) in self._recorded:
            held, recorded, what = self._recorded[id(result)]
            if recorded == version:
                self._recorded[id(result)] = (held, result._version, what)
            if result._version != version and id(result) in self._dropout_aliases:
                self._register(self._dropout_aliases.pop(id(result)), UnsupportedError(_CHANGED_ALIAS))
        elif args and is_dropout and not self._module.training:
            self._dropout_aliases |= {id(result): args[0], id(args[0]): result}

    def _record_call(self, call: Call, result: Any, what: str, handler: Any, arguments: Any, kind: str) -> None:
        """Record the values that a call returns, or the reason why it is not supported."""
        location = source_line()
        try:
            if handler is None:
                raise UnsupportedError(f"mnistcnn does not support {what}" + hint_for(kind))
            if any(each.dtype != torch.float32 for each in _tensors(result) if each.is_floating_point()):
                raise UnsupportedError("it computes in another dtype than torch.float32")
            if any(each.is_inference() for each in _tensors(result)):
                raise UnsupportedError("it computes in torch.inference_mode(); use torch.no_grad()")
            first = len(call.builder.nodes)
            values = handler(call, *arguments[0], **arguments[1])
            for node in call.builder.nodes[first:]:
                node.location = location
        except UnsupportedError as unsupported:
            values = (
                _with_location(unsupported, location, what, call.name)
                if unsupported.location is None
                else _propagated(unsupported)
            )
        except KeyError:
            values = _with_location(UnsupportedError(_FOREIGN), location, what, call.name)
        except (TypeError, ValueError, ArithmeticError, IndexError) as error:
            values = _with_location(
                UnsupportedError(f"its arguments are not supported ({error})"), location, what, call.name
            )
        tensors = list(_flat(result) if isinstance(values, list) else _tensors(result))
        if not isinstance(values, list):
            values = [values] * len(tensors)
        for tensor, value in zip(tensors, values, strict=True):
            if isinstance(tensor, torch.Tensor) and value is not None:
                self._register(tensor, value)

    def _register(self, tensor: torch.Tensor, what: TracedValue | UnsupportedError) -> None:
        self._recorded[id(tensor)] = (tensor, tensor._version, what)
        if torch.is_grad_enabled():
            self._without_gradient.discard(id(tensor))
        elif isinstance(what, TracedValue) and what.node != INPUT:
            self._without_gradient.add(id(tensor))

    def _call(self, name: str, result: Any, owner: nn.Module) -> Call:
        path = self._paths.get(id(owner))
        return Call(self.builder, name, result, self._batch, self.value, self._tensor_name, path, owner.training)

    def _node_name(self, name: str) -> str:
        """Return the name of a function's node, prefixed by the calling module. Names of modules are reserved."""
        path = self._paths.get(id(self._scopes[-1]), "")
        full = f"{path}.{name}" if path else name
        return f"{full}_function" if full in self._path_names else full

    def _tensor_name(self, tensor: Any, what: str) -> str:
        name = self._tensor_names.get(id(tensor))
        if name is None:
            with torch._C.DisableTorchFunction():
                is_constant = tensor.is_leaf and not tensor.requires_grad
            if any(each is tensor for each in self._module.parameters()):
                raise UnsupportedError(
                    f"`forward` has created its {what}; create all layers in `__init__`, or call the module once "
                    "before it is converted"
                )
            if isinstance(tensor, nn.Parameter):
                raise UnsupportedError(
                    f"its {what} is not registered in the module; keep layers in an nn.ModuleList instead of a list, "
                    "and assign parameters as attributes of the module"
                )
            if is_constant:
                raise UnsupportedError(f"its {what} is a tensor that is not registered; use self.register_buffer")
            raise UnsupportedError(
                f"its {what} is not a parameter of the module but is computed, as by weight_norm, spectral_norm and "
                "other parametrizations; remove them first (torch.nn.utils.parametrize.remove_parametrizations)"
            )
        return name

    # ---- modules

    @contextmanager
    def _intercepted_module_calls(self) -> Iterator[None]:
        """Send the calls of modules and autograd functions in this thread to `_call_module` and `_apply_function`."""
        original, thread = nn.Module.__call__, threading.get_ident()
        function = torch.autograd.Function

        def intercepted(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread or self._within_layer:
                return original(module, *args, **kwargs)
            return self._call_module(module, args, kwargs)

        apply = vars(function)["apply"]

        def intercepted_apply(kind: Any, *args: Any, **kwargs: Any) -> Any:
            bound = apply.__get__(None, kind)
            if threading.get_ident() != thread:
                return bound(*args, **kwargs)
            return self._apply_function(bound, kind, args, kwargs)

        nn.Module.__call__ = intercepted  # type: ignore[method-assign]
        function.apply = classmethod(intercepted_apply)  # type: ignore[assignment,method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]
            function.apply = apply  # type: ignore[method-assign]

    def _call_module(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Call a module in PyTorch, even if it is accelerated, and record the call if the module is a layer."""
        handler = handler_of(module)
        reason = self._unsupported_reason(module)
        if not self._takes_recorded_value(args, kwargs) or (handler is None and reason is None):
            self._scopes.append(module)
            try:
                return nn.Module._call_impl(module, *args, **kwargs)  # type: ignore[no-untyped-call]
            finally:
                self._scopes.pop()
        version = getattr(args[0], "_version", None) if args else None
        result = self._call_layer(module, args, kwargs)
        self._changed_in_place(result, args, version, is_dropout=isinstance(module, _DROPOUTS))
        kind = type(module).__name__
        name = self._paths.get(id(module)) or self._node_name(kind.lower())
        call = self._call(name, result, module)
        if reason is not None:
            handler = _unsupported_handler(reason)
        self._record_call(call, result, f"the layer {kind}", handler, ((module, *args), kwargs), kind)
        return result

    def _call_layer(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Return the outputs of a layer without recording its operations. For dropout, return its input."""
        if isinstance(module, _DROPOUTS):
            return _dropout_as_identity(args, {"inplace": module.inplace})
        self._within_layer = True
        try:
            with self._restored_random_state():
                return nn.Module._call_impl(module, *args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            self._within_layer = False

    @contextmanager
    def _restored_random_state(self) -> Iterator[None]:
        """Restore the random number generator, and add a side effect if the operation used it.

        Only values that are computed from the result of the operation depend on the random numbers.
        """
        before = torch.get_rng_state()
        yield
        if not torch.get_rng_state().equal(before):
            torch.set_rng_state(before)
            self.effects.append(SideEffect("it draws random numbers"))

    def _unsupported_reason(self, module: nn.Module) -> str | None:
        """Return why a module does not compute what its class does, or why its class is not supported; else None."""
        if parametrize.is_parametrized(module):
            names = ", ".join(module.parametrizations)  # type: ignore[arg-type]
            return f"its {names} is parametrized; call torch.nn.utils.parametrize.remove_parametrizations first"
        if module is not self._module and (module._forward_hooks or module._forward_pre_hooks):
            return (
                "it has a forward hook, which the engine would not call; remove it first (weight_norm and "
                "spectral_norm add one: torch.nn.utils.remove_weight_norm, remove_spectral_norm)"
            )
        kind = type(module)
        if isinstance(module, torch.jit.ScriptModule):
            return "it is compiled by TorchScript; pass the original module"
        layers = kind.__module__.startswith("torch.nn.modules.") and not kind.__module__.endswith(".container")
        if layers and handler_of(module) is None and kind is not nn.Module:
            return f"mnistcnn does not support the layer {kind.__name__}" + hint_for(kind.__name__)
        return None


class DropoutAsIdentity(TorchFunctionMode):
    """Mode in which every dropout returns its input, for the verification."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch, except for a dropout."""
        kwargs = kwargs or {}
        if _name_of(func) in dropouts.FUNCTIONS:
            return _dropout_as_identity(args, {**kwargs, **_inplace(func)})
        return func(*args, **kwargs)


def _run_forward(recorder: Recorder, module: nn.Module, example: torch.Tensor) -> Any:
    """Call the ``forward`` of the user's module, without the hooks on that module."""
    if handler_of(module) is not None or isinstance(module, torch.jit.ScriptModule):
        return recorder._call_module(module, (example,), {})
    return module.forward(example)


def _unsupported_handler(reason: str) -> Any:
    def handler(*_: Any, **__: Any) -> Any:
        raise UnsupportedError(reason)

    return handler


def _storage_of(tensor: torch.Tensor) -> int:
    """Return the address of a tensor's memory."""
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage().data_ptr()


_WRITING_OPERATORS = {
    *("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__imod__", "__ipow__"),
    *("__iand__", "__ior__", "__ixor__", "__ilshift__", "__irshift__", "__idiv__"),
}
_NO_WRITES = {"requires_grad_", "detach_", "rename_", "share_memory_"}


def _writes(func: Any) -> bool:
    """Return whether a function of torch writes to its first argument."""
    name = str(getattr(func, "__name__", ""))
    if name == "__set__":
        return getattr(getattr(func, "__self__", None), "__name__", "") == "data"
    if name.startswith("__"):
        return name in _WRITING_OPERATORS
    return name.endswith("_") and name not in _NO_WRITES


def _ignored_by_autograd(tensor: torch.Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        return tensor.requires_grad and not torch.is_grad_enabled()


def _renamed(args: Any, kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """Return the arguments with the first one by position, and ``dim`` for NumPy's name ``axis``."""
    kwargs = {"dim" if name == "axis" else name: value for name, value in kwargs.items()}
    return ((kwargs.pop("input"),), kwargs) if not args and "input" in kwargs else (args, kwargs)


def _reads_dtype(name: str, args: Any, kwargs: Any) -> bool:
    """Return whether a function reads or converts the dtype of its first argument."""
    if name != "to":
        return name in READS_DTYPE
    return any(isinstance(each, torch.dtype | torch.Tensor) for each in (*args[1:], *kwargs.values()))


def _inplace(func: Any) -> dict[str, bool]:
    """Return ``{"inplace": True}`` for a function whose name ends with an underscore, such as ``torch.dropout_``."""
    return {"inplace": True} if str(getattr(func, "__name__", "")).endswith("_") else {}


def _dropout_as_identity(args: Any, kwargs: Any) -> Any:
    """Return the input of a dropout as its output, for the verification."""
    inplace = kwargs.get("inplace", args[3] if len(args) > 3 else False)
    x = args[0] if args else kwargs["input"]
    return x.add_(0) if inplace else x.clone()  # add_ marks the views of x as changed


def _with_location(unsupported: UnsupportedError, location: str, what: str, name: str) -> UnsupportedError:
    """Return the error with its source location in front of the message."""
    reason = str(unsupported)
    subject = "" if reason.startswith("mnistcnn ") else f"{what}: "
    located = UnsupportedError(f"{location or f'layer {name!r}'}: {subject}{reason}")
    located.location, located.value, located.stacked = location, unsupported.value, unsupported.stacked
    return located


def _propagated(unsupported: UnsupportedError) -> UnsupportedError:
    """Return the error for values that are computed from an unsupported one."""
    propagated = UnsupportedError(str(unsupported))
    propagated.location = unsupported.location
    return propagated


def _name_of(func: Any) -> str:
    name = getattr(func, "__name__", str(func))
    if name == "__get__":
        return str(func.__self__.__name__)
    if name in _OPERATORS:
        return _OPERATORS[name]
    plain = name.rstrip("_") if not name.startswith("__") else name
    return _OPERATORS.get(plain, plain)


def _has_tensor(result: Any) -> bool:
    return any(True for _ in _tensors(result))


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict):
        for each in values.values():
            yield from _tensors(each)
    elif isinstance(values, list | tuple):
        for each in values:
            yield from _tensors(each)


def _flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, list | tuple) else list(_tensors(result))
