"""The ops as Python calls them and as torch sees them, from eager mode to torch.compile."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _get_tracing_state, _len_torch_dispatch_stack
from torch._C._autograd import _profiler_enabled
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from torch.nn import Parameter
from torch.utils._pytree import tree_map_only

from ._arguments import as_geometry, as_integers, as_pairs, as_size, check_type, pairs_of
from ._extension import _C

NAMESPACE = "pose2seg_ops"

_PLAIN = frozenset({Tensor, Parameter})
_operators: list[Operator] = []
_libraries: list[torch.library.Library] = []  # their operators live as long as these objects


class Operator:
    """One op: a callable that takes the quickest way to the kernels that is right for its arguments.

    In eager mode the extension is called directly. Whatever has to see an operator (torch.compile,
    torch.export, a trace, a profiler, a dispatch mode, a subclass of Tensor) gets
    `torch.ops.pose2seg_ops.<name>`, which the constructor registers with the same kernels and gradients.

    Args:
        schema: The name, the arguments and the results, as `torch.library` takes them.
        fake: Takes the same arguments and returns empty results of the right shape.
        pairs: The names of lists of pairs, which the schema has flat.
        geometry: The names of the tensors of positions, which are never of half precision. Under autocast
            they are converted.
        differentiable: The names of the tensors for which a gradient may be asked for.
        setup_context, backward: As `torch.library.register_autograd` takes them. Without `backward`, asking
            for a gradient raises NotImplementedError.
        reference: The op in plain torch with the same arguments. It runs on devices without kernels.
        as_tensors, from_tensors: For kernels whose result is not made of tensors: what converts it for torch,
            and back.
    """

    def __init__(
        self,
        schema: str,
        fake: Callable[..., Any],
        *,
        pairs: tuple[str, ...] = (),
        geometry: tuple[str, ...] = (),
        differentiable: tuple[str, ...] = (),
        setup_context: Callable[..., None] | None = None,
        backward: Callable[..., Any] | None = None,
        reference: Callable[..., Any] | None = None,
        as_tensors: Callable[..., Any] | None = None,
        from_tensors: Callable[..., Any] | None = None,
    ) -> None:
        self.schema = schema
        self.name, _, rest = schema.partition("(")
        declared = [argument.split(" ") for argument in rest.partition(")")[0].split(", ")]
        self.parameters = {name: kind for kind, name in declared}
        self._pairs = pairs
        self._geometry = geometry
        self._differentiable = tuple(map(list(self.parameters).index, differentiable))
        self._fake = fake
        self._setup_context = setup_context
        self._backward = backward
        self._reference = reference
        self._as_tensors = as_tensors
        self._from_tensors = from_tensors
        self._function = _autograd_function(self) if backward else None
        _operators.append(self)
        self.register(_library(NAMESPACE), _C)
        self.use(NAMESPACE, _C)

    def register(self, library: torch.library.Library, extension: ModuleType) -> None:
        """Defines the operator in a namespace of torch, with the kernels of an extension."""
        qualified = f"{library.ns}::{self.name}"
        library.define(self.schema)
        for key in ("CPU", "CUDA"):
            library.impl(self.name, self._for_dispatcher(getattr(extension, self.name)), key)
        torch.library.register_fake(qualified, self._fake, lib=library)
        if self._differentiable:
            torch.library.register_autograd(
                qualified,
                self._backward or self._refuse_backward,
                setup_context=self._setup_context,
                lib=library,
            )

    def use(self, namespace: str, extension: ModuleType) -> None:
        """Makes later calls use the operators and kernels that `register` was called with."""
        self._kernel = getattr(extension, self.name)
        self._registered = getattr(getattr(torch.ops, namespace), self.name)

    def __call__(self, *arguments: Any) -> Any:
        if not is_dynamo_compiling() and not _is_observed():
            try:
                for i in self._differentiable:
                    if arguments[i].requires_grad and torch.is_grad_enabled():
                        if self._has_direct_gradient(arguments):
                            return self._call_with_gradient(arguments)
                        break
                else:
                    result = self._kernel(*arguments)
                    if result is not NotImplemented:
                        return result
            except (AttributeError, NotImplementedError, TypeError):
                pass  # another type or device: converted, given to the reference, or named below
        return self._call_with_care(arguments)

    def _call_with_care(self, arguments: tuple[Any, ...]) -> Any:
        """The same for all arguments and modes that the direct call of the kernel is not made for."""
        arguments = tuple(map(self._converted, self.parameters, arguments))
        if not is_dynamo_compiling():
            for (name, kind), value in zip(self.parameters.items(), arguments, strict=True):
                check_type(name, kind, value)
            self._check_no_tangent(arguments)
        tensors = self._tensors(arguments)
        if not _has_kernels(tensors[0]):
            return self._call_reference(tensors[0].device, arguments)
        if is_dynamo_compiling() or _is_observed() or not _PLAIN.issuperset(map(type, tensors)):
            return self._call_registered(arguments)
        if torch.is_grad_enabled() and any(arguments[i].requires_grad for i in self._differentiable):
            return self._call_with_gradient(arguments)
        return self._kernel(*arguments)

    def _call_reference(self, device: torch.device, arguments: tuple[Any, ...]) -> Any:
        if self._reference is None:
            raise NotImplementedError(
                f"{next(iter(self.parameters))} must be on a cpu or cuda device, got {device}; the ops of "
                "pose2seg_ops.reference run on any device"
            )
        _warn_about(device.type)
        return self._reference(*arguments)

    def _call_registered(self, arguments: tuple[Any, ...]) -> Any:
        if self._from_tensors is None:
            return self._registered(*self._with_pairs(_flat, arguments))
        if is_dynamo_compiling() or _is_observed():
            return self._from_tensors(*self._registered(*self._with_pairs(_flat, arguments)))
        return self._call_with_memory(self._kernel, arguments)

    def _call_with_gradient(self, arguments: tuple[Any, ...]) -> Any:
        if self._function is not None:
            return self._function.apply(*arguments)
        names = list(self.parameters)
        name = next(names[i] for i in self._differentiable if arguments[i].requires_grad)
        raise NotImplementedError(
            f"{self.name} has no gradient, and {name} requires one: detach it, or use "
            f"pose2seg_ops.reference.{self.name}"
        )

    def _has_direct_gradient(self, arguments: tuple[Any, ...]) -> bool:
        tensors = self._tensors(arguments)
        return _PLAIN.issuperset(map(type, tensors)) and _has_kernels(tensors[0])

    def _converted(self, name: str, value: Any) -> Any:
        kind = self.parameters[name]
        if kind == "SymInt[2]":
            return as_size(value, name)
        if name in self._pairs:
            return as_pairs(value, name)
        if kind in ("SymInt[]", "int[]"):
            return as_integers(value, name)
        return as_geometry(value) if name in self._geometry else value

    def _with_pairs(self, change: Callable[[Any], Any], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self._pairs:
            return arguments
        named = zip(self.parameters, arguments, strict=True)
        return tuple(change(value) if name in self._pairs else value for name, value in named)

    def _tensors(self, arguments: tuple[Any, ...]) -> list[Tensor]:
        """All tensors among the arguments, also those in a list."""
        tensors = []
        for kind, value in zip(self.parameters.values(), arguments, strict=True):
            if kind == "Tensor":
                tensors.append(value)
            elif kind == "Tensor[]":
                tensors += value
        return tensors

    def _call_with_memory(self, kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """A kernel's result, where tensors of a subclass count as plain if they have memory of their own."""
        result = kernel(*arguments)
        if result is not NotImplemented:
            return result
        with torch._C.DisableTorchFunctionSubclass():
            plain = tree_map_only(Tensor, lambda tensor: tensor.as_subclass(Tensor), arguments)
        result = kernel(*plain)
        if result is not NotImplemented:
            return result
        kinds = zip(self.parameters, arguments, strict=True)
        name = next(name for name, value in kinds if isinstance(value, Tensor) and type(value) not in _PLAIN)
        raise TypeError(f"{name} must be a dense tensor, got one without memory of its own")

    def _check_no_tangent(self, arguments: tuple[Any, ...]) -> None:
        for i in self._differentiable if forward_ad._current_level >= 0 else ():
            if forward_ad.unpack_dual(arguments[i]).tangent is not None:
                name = list(self.parameters)[i]
                raise NotImplementedError(
                    f"{name} carries a tangent, and pose2seg_ops has no forward mode AD"
                )

    def _refuse_backward(self, *_: Any) -> None:
        raise NotImplementedError(f"{self.name} has no gradient")

    def _for_dispatcher(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result = self._call_with_memory(kernel, self._with_pairs(pairs_of, arguments))
            return result if self._as_tensors is None else self._as_tensors(result)

        return call


def gradient_operator(schema: str, fake: Callable[..., Any], differentiable: tuple[str, ...]) -> Operator:
    """The operator `<op>_backward...`, whose own gradient raises NotImplementedError once it is computed."""

    def backward(*_: Any) -> None:
        raise NotImplementedError(f"{schema.partition('_backward')[0]} cannot be differentiated twice")

    return Operator(schema, fake, differentiable=differentiable, backward=backward)


def _library(namespace: str) -> torch.library.Library:
    for library in _libraries:
        if library.ns == namespace:
            return library
    _libraries.append(torch.library.Library(namespace, "DEF"))
    return _libraries[-1]


def register_extension(namespace: str, extension: ModuleType) -> None:
    """Registers all ops once more, with the kernels of another extension, such as one that tests compile."""
    for operator in _operators:
        operator.register(_library(namespace), extension)


@contextmanager
def using_extension(namespace: str, extension: ModuleType) -> Iterator[None]:
    """Makes all ops use what `register_extension` has registered."""
    for operator in _operators:
        operator.use(namespace, extension)
    try:
        yield
    finally:
        for operator in _operators:
            operator.use(NAMESPACE, _C)


def _autograd_function(operator: Operator) -> type[torch.autograd.Function]:
    """The gradient in eager mode, where a Function around the extension is quicker than the dispatcher."""

    def forward(ctx: Any, *arguments: Any) -> Any:
        output = operator._kernel(*arguments)
        if operator._setup_context is not None:
            operator._setup_context(ctx, arguments, output)
        return output

    def backward(ctx: Any, *grads: Any) -> Any:
        assert operator._backward is not None
        return operator._backward(ctx, *grads)

    name = "".join(word.capitalize() for word in operator.name.split("_"))
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(name, (torch.autograd.Function,), members)


def _flat(pairs: Iterable[tuple[int, int]]) -> list[int]:
    return [item for pair in pairs for item in pair]


def _is_observed() -> bool:
    """Whether something has to see the operator, so that the extension must not be called directly."""
    return bool(
        _len_torch_dispatch_stack()
        or _get_tracing_state() is not None
        or _are_functorch_transforms_active()
        or _profiler_enabled()
        or forward_ad._current_level >= 0
    )


def _has_kernels(tensor: Tensor) -> bool:
    return tensor.is_cpu or tensor.is_cuda or tensor.is_meta


@lru_cache
def _warn_about(device: str) -> None:
    warnings.warn(
        f"pose2seg_ops has kernels for cpu and cuda, not for {device}: the pure-torch reference runs instead",
        stacklevel=6,  # the caller's line, past the operator and the op
    )
