"""The ops as torch.compile and torch.export see them: operators under `torch.ops.pose2seg_ops`.

The extension defines them, with their kernels. What only Python knows is added here: the fake kernel that
tells the shape of a result without computing it, and the gradient.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._C import _get_tracing_state, _len_torch_dispatch_stack
from torch.nn import Parameter

NAMESPACE = "pose2seg_ops"
_OF_TORCH = frozenset({Tensor, Parameter})


@dataclass(frozen=True)
class _Operator:
    name: str
    fake: Callable[..., Any]
    backward: Callable[..., Any] | None
    setup_context: Callable[..., None] | None


_registered: list[_Operator] = []


def register(
    name: str,
    fake: Callable[..., Any],
    *,
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
) -> None:
    """Adds the fake kernel of an operator, and its gradient where it has one, as torch.library wants them."""
    operator = _Operator(name, fake, backward, setup_context)
    _registered.append(operator)
    _register_in(NAMESPACE, operator)


def register_gradient(name: str, fake: Callable[..., Any]) -> None:
    """Adds the fake kernel of the operator `<op>_backward...`. It has no gradient itself, and says so."""
    register_without_gradient(name, fake, f"{name.partition('_backward')[0]} cannot be differentiated twice")


def register_without_gradient(name: str, fake: Callable[..., Any], reason: str) -> None:
    """Adds the fake kernel of an operator whose gradient is an error, NotImplementedError, and not a zero."""

    def backward(*_: Any) -> None:
        raise NotImplementedError(reason)

    register(name, fake, backward=backward)


def register_all_in(namespace: str) -> None:
    """The same for another extension with the same ops: the tests have one that emulates the CUDA kernels."""
    for operator in _registered:
        _register_in(namespace, operator)


def _register_in(namespace: str, operator: _Operator) -> None:
    qualified = f"{namespace}::{operator.name}"
    torch.library.register_fake(qualified, operator.fake)
    if operator.backward is not None:
        torch.library.register_autograd(qualified, operator.backward, setup_context=operator.setup_context)


def is_direct(*tensors: Tensor) -> bool:
    """Whether the extension can be called with `tensors` as they are: quicker than through the dispatcher.

    Not while somebody has to see the operator: torch.compile, torch.export, torch.jit.trace, or a dispatch
    mode such as that of make_fx. Nor with a FakeTensor or another subclass, which may have no memory.
    """
    if torch.compiler.is_compiling() or _get_tracing_state() is not None or _len_torch_dispatch_stack():
        return False
    return _OF_TORCH.issuperset(map(type, tensors))


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether the autograd.Function of an op has to be called, and not the extension."""
    if torch.is_grad_enabled():
        for tensor in tensors:
            if tensor.requires_grad:
                return True
    return False


def has_kernels(tensor: Tensor) -> bool:
    """Whether the operators run where `tensor` lives. Where not, the reference has to, which is said once."""
    if tensor.is_cpu or tensor.is_cuda or tensor.is_meta:
        return True
    _warn_about(tensor.device.type)
    return False


@lru_cache
def _warn_about(device: str) -> None:
    warnings.warn(
        f"pose2seg_ops has kernels for cpu and cuda, not for {device}: the pure-torch reference runs instead",
        stacklevel=5,  # the caller's line, past has_kernels, the op and what names its bad arguments
    )
