"""Registers the ops with torch and dispatches their calls, in eager mode and under torch.compile."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._C import (
    _are_functorch_transforms_active,
    _is_tracing,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
)
from torch._C._autograd import _profiler_enabled
from torch._C._functorch import is_functorch_wrapped_tensor, is_legacy_batchedtensor
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version
from torch.compiler import is_dynamo_compiling
from torch.nn import Parameter
from torch.utils._pytree import tree_map_only

from ._arguments import as_geometry, as_integers, as_pairs, as_size, check_type, pairs_of
from ._autograd import autograd_kernel, directional_derivative, eager_function, save_arguments
from ._extension import _C

NAMESPACE = "pose2seg_ops"

_PLAIN = frozenset({Tensor, Parameter})
_operators: list[Operator] = []
_libraries: list[torch.library.Library] = []  # their operators live as long as these objects


class Operator:
    """An op: a callable that takes the fastest path to the kernels that is valid for its arguments.

    In eager mode the extension is called directly. If something must see the operator (torch.compile,
    torch.export, a trace, a profiler, a dispatch or function mode, a subclass of Tensor), the call goes to
    `torch.ops.pose2seg_ops.<name>`, which the constructor registers with the same kernels and gradients.

    Args:
        schema: The name, arguments and results in the schema language of `torch.library`.
        fake: The fake kernel: takes the same arguments and returns empty results of the right shape.
        pairs: The names of arguments that are lists of pairs, which the schema flattens.
        geometry: The names of tensors of positions, which must not have half precision. Under autocast they
            are cast to float32.
        differentiable: The names of the tensors that may require a gradient or carry a tangent.
        linear: The arguments in which the op is linear if certain options have the given values. The kernel
            computes their tangents, with these values.
        setup_context, backward: See `torch.library.register_autograd`. Without `backward`, an argument that
            requires a gradient raises NotImplementedError.
        composite: The op in plain torch with the same arguments as the operator. Forward mode uses it
            for tangents of the arguments in which the op is not linear. Without it, tangents raise
            NotImplementedError.
        vmap: The rule of torch.vmap: takes this object and the registered operator, then the arguments that
            `torch.library.register_vmap` describes.
        reference: The op in plain torch with the same arguments. It is used on devices without kernels.
        as_tensors, from_tensors: Convert a result that does not consist of tensors to tensors for torch, and
            back.

    An op whose kernel can write into given memory (`<name>_out` in the extension) also takes `out`.
    """

    def __init__(
        self,
        schema: str,
        fake: Callable[..., Any],
        *,
        pairs: tuple[str, ...] = (),
        geometry: tuple[str, ...] = (),
        differentiable: tuple[str, ...] = (),
        linear: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        setup_context: Callable[..., None] = save_arguments,
        backward: Callable[..., Any] | None = None,
        composite: Callable[..., Any] | None = None,
        vmap: Callable[..., Any] | None = None,
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
        positions = {name: i for i, name in enumerate(self.parameters)}
        self._linear = {
            positions[name]: {positions[option]: value for option, value in changes.items()}
            for name, changes in linear.items()
        }
        self._fake = fake
        self.setup_context = setup_context
        self.backward: Callable[..., Any] = backward or self._refuse_backward
        self._composite: Any = composite
        self._vmap = vmap
        self._reference = reference
        self._as_tensors = as_tensors
        self._from_tensors = from_tensors
        self._function = eager_function(self) if backward else None
        _operators.append(self)
        self.register(_library(NAMESPACE), _C)
        self.use(NAMESPACE, _C)

    def register(self, library: torch.library.Library, extension: ModuleType) -> None:
        """Defines the operator in the namespace of `library`, with the kernels of an extension."""
        qualified = f"{library.ns}::{self.name}"
        library.define(self.schema)
        for key in ("CPU", "CUDA"):
            library.impl(self.name, self._for_dispatcher(getattr(extension, self.name)), key)
        torch.library.register_fake(qualified, self._fake, lib=library)
        overload = getattr(getattr(torch.ops, library.ns), self.name).default
        if self._differentiable:
            library.impl(self.name, autograd_kernel(self, overload), "Autograd", with_keyset=True)
        if self._vmap is not None:
            torch.library.register_vmap(qualified, partial(self._vmap, self, overload), lib=library)

    def use(self, namespace: str, extension: ModuleType) -> None:
        """Makes later calls use the operator and the kernels that were passed to `register`."""
        self._kernel = getattr(extension, self.name)
        self._kernel_with_out: Any = getattr(extension, f"{self.name}_out", None)
        self._registered = getattr(getattr(torch.ops, namespace), self.name)

    def __call__(self, *arguments: Any, out: Any = None) -> Any:
        if out is not None:
            return self._call_with_out(arguments, out)
        is_observed = _is_observed()
        if not is_observed:
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
                pass  # another type or device: handled below
        return self._call_checked(self._checked(arguments), is_observed)

    def _call_checked(self, arguments: tuple[Any, ...], is_observed: bool) -> Any:
        """Handles all arguments and modes for which the kernel cannot be called directly."""
        tensors = self._tensors(arguments)
        if not _has_kernels(tensors[0]):
            return self._call_reference(tensors[0].device, arguments)
        if is_observed or not all(map(_is_plain, tensors)):
            return self._call_registered(arguments, is_observed)
        if torch.is_grad_enabled() and any(arguments[i].requires_grad for i in self._differentiable):
            return self._call_with_gradient(arguments)
        return self._kernel(*arguments)

    def _call_with_out(self, arguments: tuple[Any, ...], out: Any) -> Any:
        """Writes the result to `out`, a tensor or a sequence of tensors, and returns what the op returns."""
        arguments = self._checked(arguments)
        returns_list = self.schema.endswith("Tensor[]")
        if not is_dynamo_compiling():
            check_type("out", "Tensor[]" if returns_list else "Tensor", out)
        outs = list(out) if returns_list else [out]
        tensors = self._tensors(arguments) + outs
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            raise ValueError("out must be None if a tensor requires a gradient")
        if _is_observed() or not all(map(_is_writable, tensors)):
            return _copied(self(*arguments), out)
        result = self._kernel_with_out(out, *arguments)
        increment_version(outs)
        return result

    def _call_reference(self, device: torch.device, arguments: tuple[Any, ...]) -> Any:
        if self._reference is None:
            raise NotImplementedError(
                f"{next(iter(self.parameters))} must be on a cpu or cuda device, got {device}; the ops of "
                "pose2seg_ops.reference run on any device"
            )
        _warn_about(device.type)
        return self._reference(*arguments)

    def _call_registered(self, arguments: tuple[Any, ...], is_observed: bool) -> Any:
        if self._from_tensors is None:
            return self._registered(*self._with_pairs(_flat, arguments))
        if is_observed:
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

    def _checked(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns the arguments, converted to the types of the kernels."""
        arguments = tuple(map(self._converted, self.parameters, arguments))
        if not is_dynamo_compiling():
            for (name, kind), value in zip(self.parameters.items(), arguments, strict=True):
                check_type(name, kind, value)
        return arguments

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
        """Returns all tensors among the arguments, including those in lists."""
        tensors = []
        for kind, value in zip(self.parameters.values(), arguments, strict=True):
            if kind == "Tensor":
                tensors.append(value)
            elif kind == "Tensor[]":
                tensors += value
        return tensors

    def _call_with_memory(self, kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Calls a kernel, treating tensors of a subclass as plain tensors if they have memory of their
        own."""
        if is_dynamo_compiling():  # reached if the graph breaks at the operator
            torch._dynamo.skip_frame("the kernels are not written in Python")
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

    def _refuse_backward(self, *_: Any) -> None:
        raise NotImplementedError(f"{self.name} has no gradient")

    def jvp(self, arguments: Sequence[Any], tangents: Sequence[Tensor | None]) -> Any:
        """Returns the tangent of the result from those of the arguments, for forward mode."""
        given = {i: tangent for i, tangent in enumerate(tangents) if tangent is not None}
        if self._composite is None:
            name = list(self.parameters)[min(given)]
            raise NotImplementedError(f"{name} carries a tangent, and {self.name} has no forward mode AD")
        linear = [i for i in given if i in self._linear]
        terms = []
        for i in linear:
            changes = self._linear[i] | {i: given.pop(i)}
            terms.append(self._registered(*(changes.get(k, value) for k, value in enumerate(arguments))))
        if given:
            terms.append(directional_derivative(self._composite, arguments, given))
        return sum(terms[1:], start=terms[0])

    def _for_dispatcher(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result = self._call_with_memory(kernel, self._with_pairs(pairs_of, arguments))
            return result if self._as_tensors is None else self._as_tensors(result)

        return call


def _library(namespace: str) -> torch.library.Library:
    for library in _libraries:
        if library.ns == namespace:
            return library
    _libraries.append(torch.library.Library(namespace, "DEF"))
    return _libraries[-1]


def register_extension(namespace: str, extension: ModuleType) -> None:
    """Registers all ops in another namespace with the kernels of another extension, such as one compiled by
    tests."""
    for operator in _operators:
        operator.register(_library(namespace), extension)


@contextmanager
def using_extension(namespace: str, extension: ModuleType) -> Iterator[None]:
    """Makes all ops use the kernels of a namespace that `register_extension` has registered."""
    for operator in _operators:
        operator.use(namespace, extension)
    try:
        yield
    finally:
        for operator in _operators:
            operator.use(NAMESPACE, _C)


def _is_observed() -> bool:
    """Returns whether something must see the registered operator."""
    return bool(
        is_dynamo_compiling()
        or _len_torch_dispatch_stack()
        or _len_torch_function_stack()
        or _is_tracing()
        or _are_functorch_transforms_active()
        or _profiler_enabled()
        or forward_ad._current_level >= 0
    )


def _flat(pairs: Iterable[tuple[int, int]]) -> list[int]:
    return [item for pair in pairs for item in pair]


def _is_plain(tensor: Tensor) -> bool:
    """Returns whether a tensor has memory that the kernels can read.

    Wrappers have none: those that transforms of torch.func leave in graphs for gradients, and those of the
    option `is_grads_batched` of `torch.autograd.grad`.
    """
    return type(tensor) in _PLAIN and not (
        is_functorch_wrapped_tensor(tensor) or is_legacy_batchedtensor(tensor)
    )


def _is_writable(tensor: Tensor) -> bool:
    """Whether the kernels can write to the memory of a tensor."""
    return _is_plain(tensor) and _has_kernels(tensor) and not tensor.is_neg()


def _copied(result: Any, out: Any) -> Any:
    """Copies the result of an op to `out`, and returns what the op returns with `out`."""
    if isinstance(result, list):
        if len(result) != len(out):
            raise ValueError(f"out must hold one tensor per image, {len(result)}, got {len(out)}")
        return list(map(_copied, result, out))
    if isinstance(result, tuple):
        first, *rest = result
        return (_copied(first, out), *rest)
    for name in ("shape", "dtype", "device"):
        expected, got = getattr(result, name), getattr(out, name)
        if expected != got:
            error = TypeError if name == "dtype" else ValueError
            raise error(f"out must have the {name} {expected}, got {got}")
    return out.copy_(result)


def _has_kernels(tensor: Tensor) -> bool:
    return tensor.is_cpu or tensor.is_cuda or tensor.is_meta


@lru_cache
def _warn_about(device: str) -> None:
    warnings.warn(
        f"pose2seg_ops has kernels for cpu and cuda, not for {device}: the pure-torch reference runs instead",
        stacklevel=6,  # points at the caller of the public op
    )
