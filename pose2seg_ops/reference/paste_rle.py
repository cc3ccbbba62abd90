"""Pure-torch `paste_rle`: the masks, and then their run lengths."""

from collections.abc import Sequence

from torch import Tensor

from .._rle import RLE
from .encode_rle import encode_rle
from .paste_masks import paste_masks


def paste_rle(
    probabilities: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    *,
    threshold: float = 0.5,
) -> list[list[RLE]]:
    """See `pose2seg_ops.paste_rle`."""
    masks = paste_masks(probabilities, matrices, batch_index, image_sizes, threshold=threshold)
    return [encode_rle(of_image) for of_image in masks]
