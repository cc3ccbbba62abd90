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
from torch.autograd import forward_ad

NAMESPACE = "pose2seg_ops"


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


def is_direct(tensor: Tensor) -> bool:
    """Whether the extension can be called with `tensor` as it is: quicker than through the dispatcher.

    Not while torch.compile or torch.export look on, nor with a FakeTensor or another subclass.
    """
    return type(tensor) is Tensor and (tensor.is_cpu or tensor.is_cuda) and not torch.compiler.is_compiling()


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether the autograd.Function of an op has to be called, and not the extension.

    For a tangent of forward mode too: the Function refuses it, where the extension would drop it in silence.
    """
    is_backward_on = torch.is_grad_enabled()
    for tensor in tensors:  # a generator would take longer than all the rest
        if (is_backward_on and tensor.requires_grad) or forward_ad.unpack_dual(tensor).tangent is not None:
            return True
    return False


def has_kernels(tensor: Tensor) -> bool:
    """Whether the operators run where `tensor` lives. Where not, the reference has to, which is said once."""
    device = tensor.device.type
    if device in ("cpu", "cuda", "meta"):
        return True
    _warn_about(device)
    return False


@lru_cache
def _warn_about(device: str) -> None:
    warnings.warn(
        f"pose2seg_ops has kernels for cpu and cuda, not for {device}: the pure-torch reference runs instead",
        stacklevel=5,  # the caller's line, past has_kernels, the op and what names its bad arguments
    )
