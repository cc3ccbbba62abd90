"""Operators that compute the gradient of an op, and the derivatives of that gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch.compiler import is_dynamo_compiling

from ._autograd import partial_function, saved_arguments
from ._operator import Operator


class GradientOperator(Operator):
    """An operator `<op>_backward...` that computes a gradient of an op with a kernel.

    Its own derivatives are those of `composite`, the same gradient in plain torch, unless it is given a
    `backward`. The kernel also computes tangents, in the arguments named by `linear`.
    """

    def __init__(
        self, schema: str, fake: Callable[..., Any], composite: Callable[..., Any], **options: Any
    ) -> None:
        options.setdefault("backward", self._backward_of_composite)
        super().__init__(schema, fake, composite=composite, **options)

    def _backward_of_composite(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [i for i in self._differentiable if ctx.needs_input_grad[i]]
        grads = gradients_of(self._composite, saved_arguments(self, ctx), wanted, grad)
        return tuple(grads.get(i) for i in range(len(self.parameters)))

    def _call_registered(self, arguments: tuple[Any, ...], is_observed: bool) -> Any:
        # The composite calls torch.func.vjp, which torch allows here but not in the rule of torch.func.jvp.
        nonlinear = set(self._differentiable).difference(self._linear)
        if not is_dynamo_compiling() and any(_carries_tangent(arguments[i]) for i in nonlinear):
            return self._composite(*arguments)
        return super()._call_registered(arguments, is_observed)


def gradients_of(
    function: Callable[..., Tensor], arguments: Sequence[Any], wanted: Sequence[int], grad: Tensor
) -> dict[int, Tensor]:
    """Returns the gradients of the `wanted` arguments of a function in plain torch.

    They can be differentiated again.
    """
    free = [arguments[i] for i in wanted]
    vjp = torch.func.vjp(partial_function(function, arguments, wanted), *free)[1]
    return dict(zip(wanted, vjp(grad), strict=True))


def _carries_tangent(tensor: Tensor) -> bool:
    """Returns whether a tensor has a tangent at any active level of `torch.func.jvp`."""
    levels = {
        interpreter.level()
        for interpreter in _functorch.get_interpreter_stack() or ()
        if interpreter.key() == _functorch.TransformType.Jvp
    }
    while _functorch.is_functorch_wrapped_tensor(tensor):
        if _functorch.maybe_get_level(tensor) in levels:
            return True
        tensor = _functorch.get_unwrapped(tensor)
    return False
