"""The rule of torch.vmap for the ops on instances: one call of the kernel for all members of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ._operator import Operator


def fold_into_instances(
    operator: Operator, overload: Callable[..., Tensor], info: Any, in_dims: Sequence[Any], *arguments: Any
) -> tuple[Tensor, int]:
    """Computes a batch of calls as one call with the instances of all members.

    The first dimension of every tensor counts instances, except that of `input`, which counts images. If
    `input` is not batched, all members share its images, and it is not copied.
    """
    size = info.batch_size
    values = dict(zip(operator.parameters, arguments, strict=True))
    dims = dict(zip(operator.parameters, in_dims, strict=True))
    batched = {
        name: value.expand(size, *value.shape) if dims[name] is None else value.movedim(dims[name], 0)
        for name, value in values.items()
        if isinstance(value, Tensor) and (name != "input" or dims[name] is not None)
    }
    if "input" in batched:
        batched["batch_index"] = _of_own_images(batched["batch_index"], batched["input"].shape[1])
    elif "input_size" in values:  # the size of the gradient, which every member returns
        images, *rest = values["input_size"]
        batched["batch_index"] = _of_own_images(batched["batch_index"], images)
        values["input_size"] = [size * images, *rest]
    values |= {name: value.flatten(0, 1) for name, value in batched.items()}
    result = overload(*values.values())
    return result.unflatten(0, (size, result.shape[0] // size)), 0


def _of_own_images(batch_index: Tensor, images: int) -> Tensor:
    """Converts indices (V, N) among the images of a member to indices among those of all members.

    An index that is out of range stays out of range.
    """
    first = torch.arange(batch_index.shape[0], device=batch_index.device)[:, None] * images
    return torch.where((batch_index >= 0) & (batch_index < images), batch_index + first, -1)
