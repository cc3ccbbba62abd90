"""Pure-torch `encode_rle`: the lengths of the runs of each mask, column-major, as COCO's characters."""

import torch
from torch import Tensor

from .._rle import RLE


def encode_rle(masks: Tensor) -> list[RLE]:
    """See `pose2seg_ops.encode_rle`."""
    size = list(masks.shape[1:])
    return [{"size": size, "counts": _characters(_run_lengths(mask))} for mask in masks.cpu() != 0]


def _run_lengths(mask: Tensor) -> list[int]:
    """Returns the lengths of the runs of 0, then 1, then 0, and so on; the first may be 0."""
    pixels = mask.t().flatten()
    before = torch.cat((pixels.new_zeros(1), pixels[:-1]))
    starts = (pixels != before[: len(pixels)]).nonzero()[:, 0]
    ends = torch.cat((starts, starts.new_tensor([len(pixels)])))
    return ends.diff(prepend=ends.new_zeros(1)).tolist()


def _characters(lengths: list[int]) -> bytes:
    written = bytearray()
    for i, length in enumerate(lengths):
        value = length - lengths[i - 2] if i > 2 else length
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            written.append(48 + bits + 32 * more)
    return bytes(written)
