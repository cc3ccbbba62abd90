"""Derivatives of operators in reverse and forward mode, with and without the transforms of torch.func."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C import (
    _after_autograd_keyset,
    _any_requires_grad,
    _are_functorch_transforms_active,
    _AutoDispatchBelowAutograd,
    _len_torch_dispatch_stack,
)
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.forward_ad import _set_fwd_grad_enabled, make_dual, unpack_dual
from torch.autograd.function import _SingleLevelFunction

if TYPE_CHECKING:
    from ._operator import Operator


def eager_function(operator: Operator) -> Any:
    """Returns the autograd function for eager mode without forward mode and transforms, which calls the
    extension with less overhead than the dispatcher."""

    def forward(ctx: Any, *arguments: Any) -> Any:
        output = operator._kernel(*arguments)
        operator.setup_context(ctx, arguments, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(operator.backward)}
    return type(_class_name(operator), (torch.autograd.Function,), members)


def autograd_kernel(operator: Operator, overload: torch._ops.OpOverload) -> Callable[..., Any]:
    """Returns the kernel of an operator for the dispatch key Autograd.

    `torch.library.register_autograd` makes one without forward mode, which raises under the transforms of
    torch.func. They call this kernel once for each level of differentiation, with the tensors of that level.
    """

    def forward(ctx: Any, *arguments: Any) -> Any:
        arguments_of_op, keyset = arguments[:-1], arguments[-1]
        # This call runs without gradients, but the levels below may need theirs.
        with torch.enable_grad(), _set_fwd_grad_enabled(True), _AutoDispatchBelowAutograd():
            output = overload.redispatch(keyset & _after_autograd_keyset, *arguments_of_op)
        ctx.set_materialize_grads(False)
        operator.setup_context(ctx, arguments_of_op, output)
        ctx.save_for_forward(*(value for value in arguments_of_op if isinstance(value, Tensor)))
        ctx.constants = [None if isinstance(value, Tensor) else value for value in arguments_of_op]
        return output

    def backward(ctx: Any, *grads: Any) -> Any:
        if all(grad is None for grad in grads):
            return (None,) * (len(operator.parameters) + 1)
        return (*operator.backward(ctx, *grads), None)

    def jvp(ctx: Any, *tangents: Any) -> Any:
        # Autograd disables forward mode for this call, too; the saved tensors still have their tangents.
        with _set_fwd_grad_enabled(True):
            primals = [unpack_dual(tensor, level=0).primal for tensor in ctx.saved_tensors]
            return operator.jvp(_merged(operator, primals, ctx.constants), tangents[:-1])

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward), "jvp": staticmethod(jvp)}
    function: Any = type(_class_name(operator), (_SingleLevelFunction,), members)

    def call(keyset: torch._C.DispatchKeySet, *arguments: Any) -> Any:
        if _may_need_derivatives(arguments):
            with enable_single_level_autograd_function():
                return function.apply(*arguments, keyset)
        with _AutoDispatchBelowAutograd():
            return overload.redispatch(keyset & _after_autograd_keyset, *arguments)

    return call


def _may_need_derivatives(arguments: Sequence[Any]) -> bool:
    """Returns whether an argument requires a gradient or carries a tangent, or True if this is unknown."""
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    return (
        (torch.is_grad_enabled() and _any_requires_grad(*tensors))
        or _are_functorch_transforms_active()
        or _len_torch_dispatch_stack() > 0  # a trace would record a look at the tangents
        or any(unpack_dual(tensor, level=0).tangent is not None for tensor in tensors)
    )


def save_arguments(ctx: Any, arguments: Sequence[Any], output: Any) -> None:
    """Saves all arguments for `saved_arguments`, as the `setup_context` of an operator."""
    ctx.save_for_backward(*(value for value in arguments if isinstance(value, Tensor)))
    ctx.constants = [None if isinstance(value, Tensor) else value for value in arguments]


def saved_arguments(operator: Operator, ctx: Any) -> list[Any]:
    """Returns the arguments that `save_arguments` saved."""
    return _merged(operator, ctx.saved_tensors, ctx.constants)


def _merged(operator: Operator, tensors: Sequence[Tensor], constants: Sequence[Any]) -> list[Any]:
    rest = iter(tensors)
    kinds = zip(operator.parameters.values(), constants, strict=True)
    return [next(rest) if kind == "Tensor" else constant for kind, constant in kinds]


def directional_derivative(
    function: Callable[..., Tensor], arguments: Sequence[Any], tangents: dict[int, Tensor]
) -> Tensor:
    """Returns the derivative of a function in plain torch along the tangents of some of its arguments.

    Unlike `torch.func.jvp`, it can be called in the rule for forward mode of an operator.
    """
    duals = [make_dual(arguments[i], tangent, level=0) for i, tangent in tangents.items()]
    output = partial_function(function, arguments, list(tangents))(*duals)
    tangent = unpack_dual(output, level=0).tangent
    return torch.zeros_like(output) if tangent is None else tangent


def partial_function(
    function: Callable[..., Tensor], arguments: Sequence[Any], free: Sequence[int]
) -> Callable[..., Tensor]:
    """Returns the function of the `free` arguments alone."""

    def call(*values: Tensor) -> Tensor:
        complete = list(arguments)
        for i, value in zip(free, values, strict=True):
            complete[i] = value
        return function(*complete)

    return call


def _class_name(operator: Operator) -> str:
    return "".join(word.capitalize() for word in operator.name.split("_"))
