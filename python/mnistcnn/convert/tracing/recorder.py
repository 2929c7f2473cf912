"""Watches a module's forward at work on real numbers, and writes down the network that it runs.

One mechanism for all styles: the forward itself is executed, so conditions on shapes, loops, lists of modules and
helper functions need no analysis. Each function of torch that touches a value of the network passes through
`Recorder.__torch_function__`, each module through `Recorder._call_module`.
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

from mnistcnn.convert.errors import ConversionError, DirectParameterError, RefusalError, source_line
from mnistcnn.convert.operations import arithmetic, dropouts, operations, pools, shapes
from mnistcnn.convert.operations.builder import Builder, Shape, Value
from mnistcnn.convert.operations.operations import Call
from mnistcnn.convert.operations.torch_modules import handler_of
from mnistcnn.convert.side_effects import SideEffect
from mnistcnn.convert.tracing.hints import GRADIENT_QUESTIONS, LOOKS_AT_NUMBERS, NO_VALUE, hint_for
from mnistcnn.nn.graph import INPUT
from mnistcnn.nn.layers import Detach

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
_FOREIGN = "it takes a tensor that does not come from the forward's input by operations of torch"


class Recorder(TorchFunctionMode):
    """The network of one run of a module's forward."""

    def __init__(
        self, module: nn.Module, example: torch.Tensor, input_shape: Shape, image_shape: Shape, *, joins: bool = True
    ) -> None:
        super().__init__()
        self._module = module
        self._batch = len(example)
        self._paths = {id(each): path for path, each in module.named_modules()}
        tensors = [*module.named_parameters(), *module.named_buffers()]
        self._tensor_names = {id(tensor): name for name, tensor in reversed(tensors)}
        self._path_names = set(self._paths.values())
        self.builder = Builder(input_shape, self._path_names, joins=joins)
        self._known: dict[
            int, tuple[torch.Tensor, int, Value | RefusalError]
        ] = {}  # by id: tensor, version, what it is
        self._without_gradient: set[int] = set()  # tensors that were computed under torch.no_grad()
        self.effects: list[SideEffect] = []
        self._scopes: list[nn.Module] = [module]
        self._within_layer = False
        self._example = example
        for name, parameter in module.named_parameters():
            self._remember(parameter, DirectParameterError(name, tuple(parameter.shape)))
        self._remember(example, Value(INPUT, image_shape))

    def run(self) -> Any:
        """The module's own outputs."""
        with self, self._watched_modules():
            return _run_forward(self, self._module, self._example)

    def value(self, tensor: Any) -> Value:
        """What a tensor is in the network."""
        if not isinstance(tensor, torch.Tensor):
            raise RefusalError(f"it takes {type(tensor).__name__} {tensor!r} for a tensor")
        _, version, what = self._known[id(tensor)]
        if isinstance(what, RefusalError):
            raise what
        if tensor._version != version:
            raise RefusalError("its input was changed in place through another view; write without in-place operations")
        if id(tensor) in self._without_gradient and torch.is_grad_enabled() and not tensor.requires_grad:
            self._without_gradient.discard(id(tensor))
            what = self.builder.pointwise(Detach(), what, "detach")
            self._remember(tensor, what)
        return what

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is a value of the network."""
        return isinstance(self._known.get(id(tensor), (None, None, None))[2], Value)

    # ---- functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every function of torch comes through here."""
        kwargs = kwargs or {}
        if self._within_layer or not self._concerned(args, kwargs):
            return func(*args, **kwargs)
        name = _name_of(func)
        if name in LOOKS_AT_NUMBERS:
            raise ConversionError(
                f"{source_line()}: the forward looks at numbers ({name}), so that what it computes can't be known "
                "beforehand; let it depend on shapes only, or look at the outputs outside"
            )
        version = getattr(args[0], "_version", None) if args else None
        calm = name in dropouts.FUNCTIONS
        with self._random_numbers_restored():
            result = _calm_dropout(args, {**kwargs, **_inplace(func)}) if calm else func(*args, **kwargs)
        if name in GRADIENT_QUESTIONS and self.knows(args[0]):
            self.effects.append(SideEffect(f"it uses {name} of a tensor ({source_line()})"))
        if name in NO_VALUE or not _has_tensor(result):
            return result
        self._changed_in_place(result, args, version)
        call = self._call(self._scoped(name), result, self._scopes[-1])
        handler = _HANDLERS.get(name)
        self._conclude(call, result, f"the function {name}", handler, (args, kwargs), name)
        return result

    def _concerned(self, args: Any, kwargs: Any) -> bool:
        return any(id(each) in self._known for each in _tensors((args, kwargs)))

    def _changed_in_place(self, result: Any, args: Any, version: int | None) -> None:
        """An operation wrote into its first input: for the handler, that input still is what it was."""
        if args and result is args[0] and id(result) in self._known:
            kept, recorded, what = self._known[id(result)]
            if recorded == version:
                self._known[id(result)] = (kept, result._version, what)

    def _conclude(self, call: Call, result: Any, what: str, handler: Any, arguments: Any, kind: str) -> None:
        """Notes what a call gave: values, or the reason why it can't be expressed."""
        where = source_line()
        try:
            if handler is None:
                raise RefusalError(f"mnistcnn doesn't know {what}" + hint_for(kind))
            if any(each.dtype != torch.float32 for each in _tensors(result) if each.is_floating_point()):
                raise RefusalError("it computes in another type than torch.float32")
            if any(each.is_inference() for each in _tensors(result)):
                raise RefusalError("it computes in torch.inference_mode(); use torch.no_grad()")
            begin = len(call.builder.found)
            values = handler(call, *arguments[0], **arguments[1])
            for found in call.builder.found[begin:]:
                found.where = where
        except RefusalError as refusal:
            values = _placed(refusal, where, what, call.name) if refusal.where is None else _passed_on(refusal)
        except KeyError:
            values = _placed(RefusalError(_FOREIGN), where, what, call.name)
        except (TypeError, ValueError) as error:
            values = _placed(RefusalError(f"its arguments are not known ({error})"), where, what, call.name)
        tensors = list(_flat(result) if isinstance(values, list) else _tensors(result))
        if not isinstance(values, list):
            values = [values] * len(tensors)
        for tensor, value in zip(tensors, values, strict=True):
            if isinstance(tensor, torch.Tensor) and value is not None:
                self._remember(tensor, value)

    def _remember(self, tensor: torch.Tensor, what: Value | RefusalError) -> None:
        self._known[id(tensor)] = (tensor, tensor._version, what)
        if torch.is_grad_enabled():
            self._without_gradient.discard(id(tensor))
        elif isinstance(what, Value) and what.node != INPUT:
            self._without_gradient.add(id(tensor))

    def _call(self, name: str, result: Any, owner: nn.Module) -> Call:
        path = self._paths.get(id(owner))
        return Call(self.builder, name, result, self._batch, self.value, self._tensor_name, path, owner.training)

    def _scoped(self, name: str) -> str:
        """A function's node is named after it, in the module that calls it; modules' own names stay free."""
        path = self._paths.get(id(self._scopes[-1]), "")
        full = f"{path}.{name}" if path else name
        return f"{full}_function" if full in self._path_names else full

    def _tensor_name(self, tensor: Any, what: str) -> str:
        name = self._tensor_names.get(id(tensor))
        if name is None:
            raise RefusalError(
                f"its {what} is no parameter of the module but computed, as weight_norm, spectral_norm and other "
                "parametrizations do; remove them first (torch.nn.utils.parametrize.remove_parametrizations)"
            )
        return name

    # ---- modules

    @contextmanager
    def _watched_modules(self) -> Iterator[None]:
        """While this lasts, calls of modules in this thread come to `_call_module`."""
        original, thread = nn.Module.__call__, threading.get_ident()

        def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread or self._within_layer:
                return original(module, *args, **kwargs)
            return self._call_module(nn.Module._call_impl, module, args, kwargs)  # past an engine of its own

        nn.Module.__call__ = watched  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]

    def _call_module(self, original: Any, module: nn.Module, args: Any, kwargs: Any) -> Any:
        handler = handler_of(module)
        reason = self._why_not(module)
        if not self._concerned(args, kwargs) or (handler is None and reason is None):
            self._scopes.append(module)
            try:
                return original(module, *args, **kwargs)
            finally:
                self._scopes.pop()
        version = getattr(args[0], "_version", None) if args else None
        result = self._computed(original, module, args, kwargs)
        self._changed_in_place(result, args, version)
        kind = type(module).__name__
        name = self._paths.get(id(module)) or self._scoped(kind.lower())
        call = self._call(name, result, module)
        if reason is not None:
            handler = _refuse(reason)
        self._conclude(call, result, f"the layer {kind}", handler, ((module, *args), kwargs), kind)
        return result

    def _computed(self, original: Any, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """What a layer gives, unobserved; dropout gives its input, so that outputs can be compared."""
        if isinstance(module, _DROPOUTS):
            return _calm_dropout(args, {"inplace": module.inplace})
        self._within_layer = True
        try:
            with self._random_numbers_restored():
                return original(module, *args, **kwargs)
        finally:
            self._within_layer = False

    @contextmanager
    def _random_numbers_restored(self) -> Iterator[None]:
        """Note a draw by an operation on values of the network: only what is computed from its result depends on it."""
        before = torch.get_rng_state()
        yield
        if not torch.get_rng_state().equal(before):
            torch.set_rng_state(before)
            self.effects.append(SideEffect("it draws random numbers"))

    def _why_not(self, module: nn.Module) -> str | None:
        """What makes a module something else than its class says."""
        if parametrize.is_parametrized(module):
            names = ", ".join(module.parametrizations)  # type: ignore[arg-type]
            return f"its {names} is parametrized; call torch.nn.utils.parametrize.remove_parametrizations first"
        if module is not self._module and (module._forward_hooks or module._forward_pre_hooks):
            return (
                "it has a forward hook, which would not run; remove it first (weight_norm and spectral_norm have one: "
                "torch.nn.utils.remove_weight_norm, remove_spectral_norm)"
            )
        kind = type(module)
        if isinstance(module, torch.jit.ScriptModule):
            return "it is compiled by TorchScript; give the module that it was made of"
        layers = kind.__module__.startswith("torch.nn.modules.") and not kind.__module__.endswith(".container")
        if layers and handler_of(module) is None and kind is not nn.Module:
            return f"mnistcnn doesn't know the layer {kind.__name__}" + hint_for(kind.__name__)
        return None


def _run_forward(recorder: Recorder, module: nn.Module, example: torch.Tensor) -> Any:
    """The author's own forward; hooks on the whole module stay outside."""
    if handler_of(module) is not None or isinstance(module, torch.jit.ScriptModule):
        return recorder._call_module(nn.Module._call_impl, module, (example,), {})
    return module.forward(example)


def _refuse(reason: str) -> Any:
    def handler(*_: Any, **__: Any) -> Any:
        raise RefusalError(reason)

    return handler


def _inplace(func: Any) -> dict[str, bool]:
    """As an argument, where the name says it: ``torch.dropout_``."""
    return {"inplace": True} if str(getattr(func, "__name__", "")).endswith("_") else {}


def _calm_dropout(args: Any, kwargs: Any) -> Any:
    """A dropout's input for its output, so that outputs can be compared."""
    inplace = kwargs.get("inplace", args[3] if len(args) > 3 else False)
    x = args[0] if args else kwargs["input"]
    return x if inplace else x.clone()


def _placed(refusal: RefusalError, where: str, what: str, name: str) -> RefusalError:
    """The reason with the place in the author's source in front."""
    reason = str(refusal)
    subject = "" if reason.startswith("mnistcnn ") else f"{what}: "
    placed = RefusalError(f"{where or f'layer {name!r}'}: {subject}{reason}")
    placed.where, placed.value, placed.stacked = where, refusal.value, refusal.stacked
    return placed


def _passed_on(refusal: RefusalError) -> RefusalError:
    """The reason for what is computed from a refused value: that is other numbers."""
    same = RefusalError(str(refusal))
    same.where = refusal.where
    return same


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
