"""Copies from host memory to the device of a model."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

_ALIGNMENT = 16  # bytes, which is enough for every dtype


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Returns the tensors on `device`. Those on other devices are moved together, in one copy."""
    elsewhere = [tensor for tensor in tensors if tensor.device != device]
    moved = iter(_move_together(elsewhere, device) if elsewhere else [])
    return [tensor if tensor.device == device else next(moved) for tensor in tensors]


def _move_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    sizes = (-(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT for tensor in tensors)
    *starts, total = accumulate(sizes, initial=0)
    packed = torch.empty(total, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for tensor, start in zip(tensors, starts, strict=True):
        _part(packed, start, tensor).copy_(tensor)
    arrived = packed.to(device, non_blocking=True)
    return [_part(arrived, start, tensor) for tensor, start in zip(tensors, starts, strict=True)]


def _part(packed: Tensor, start: int, like: Tensor) -> Tensor:
    return packed[start : start + like.nbytes].view(like.dtype).view(like.shape)
