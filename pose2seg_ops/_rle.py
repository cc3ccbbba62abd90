"""Run lengths as the kernels give them, as the dicts that pycocotools reads."""

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor


class RLE(TypedDict):
    """A mask as pycocotools.mask.encode gives it: `size` is [H, W], `counts` are the compressed runs."""

    size: list[int]
    counts: bytes


def as_dicts(characters: Tensor, lengths: Tensor, sizes: Sequence[Sequence[int]]) -> list[RLE]:
    """The masks whose `characters` (uint8, CPU) stand one after the other, each with `lengths` of them."""
    joined = characters.numpy().tobytes()
    dicts: list[RLE] = []
    start = 0
    for length, (height, width) in zip(lengths.tolist(), sizes, strict=True):
        dicts.append({"size": [height, width], "counts": joined[start : start + length]})
        start += length
    return dicts
