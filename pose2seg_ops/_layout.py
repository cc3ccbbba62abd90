"""Memory formats of the outputs of the ops."""

import torch
from torch import Tensor


def is_channels_last(input: Tensor) -> bool:
    """Returns whether the channels of `input` (B, C, H, W) are adjacent in memory; if so, the output is
    channels_last."""
    return input.stride(1) == 1 and input.stride(3) != 1


def memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format
