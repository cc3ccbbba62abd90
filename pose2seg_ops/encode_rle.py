"""COCO's run-length encoding of binary masks."""

import torch
from torch import Tensor

from ._operator import Operator
from ._rle import RLE, as_bytes, as_tensors


def encode_rle(masks: Tensor) -> list[RLE]:
    """Encodes masks as `pycocotools.mask.encode` does, byte for byte, without a column-major copy.

    Args:
        masks: (N, H, W), bool or uint8; every nonzero value belongs to the mask. Any strides; if the columns
            of a row are not adjacent in memory, the masks are copied.

    Returns:
        One dict per mask: `"size"` is `[H, W]`, `"counts"` are bytes. On a CUDA device they are encoded
        there. Their number is data-dependent, so copying them to the host synchronises twice (three times if
        a mask has more than two runs of ones per column on average).

        The result is Python data of data-dependent size, so torch.compile breaks the graph here. The operator
        `torch.ops.pose2seg_ops.encode_rle` returns the same bytes as a tensor.

    Raises:
        TypeError: if the masks are not a dense tensor of bool or uint8.
        ValueError: if the shape is not (N, H, W), or masks have 2^31 pixels or more.
        NotImplementedError: if the device is neither cpu nor cuda.

    Source: the COCO API (https://github.com/cocodataset/cocoapi).
    """
    return [{"size": list(masks.shape[1:]), "counts": counts} for counts in _encode_rle(masks)]


def _fake(masks: Tensor) -> tuple[Tensor, Tensor]:
    characters = torch.library.get_ctx().new_dynamic_size()
    return torch.empty(characters, dtype=torch.uint8), torch.empty(masks.shape[0], dtype=torch.int64)


_encode_rle = Operator(
    "encode_rle(Tensor masks) -> (Tensor, Tensor)", _fake, as_tensors=as_tensors, from_tensors=as_bytes
)
