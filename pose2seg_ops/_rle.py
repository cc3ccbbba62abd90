"""Run-length encodings: as the kernels return them, as tensors, and as the dicts of pycocotools."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor


class RLE(TypedDict):
    """A mask as pycocotools.mask.encode returns it: `size` is [H, W], `counts` are the compressed run
    lengths."""

    size: list[int]
    counts: bytes


def as_tensors(encoded: Sequence[bytes]) -> tuple[Tensor, Tensor]:
    """Returns the concatenated characters of all masks as uint8, and the number of each mask as int64."""
    characters = torch.from_numpy(np.frombuffer(b"".join(encoded), np.uint8).copy())
    return characters, torch.tensor([len(counts) for counts in encoded], dtype=torch.int64)


def as_bytes(characters: Tensor, lengths: Tensor) -> list[bytes]:
    """The inverse of `as_tensors`."""
    joined = characters.numpy().tobytes()
    encoded, start = [], 0
    for length in lengths.tolist():
        encoded.append(joined[start : start + length])
        start += length
    return encoded
