"""Pasting: each instance's probability map back into its image, as a binary mask."""

from collections.abc import Sequence

from torch import Tensor

from . import _C
from ._pairs import flatten_pairs


def paste_masks(
    probabilities: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    image_sizes: Sequence[Sequence[int]],
    *,
    threshold: float = 0.5,
) -> list[Tensor]:
    """Samples every probability map at the pixels of its image, bilinearly and 0 outside, and thresholds.

    Only the box around each map's footprint in the image is sampled.

    Args:
        probabilities: (N, h, w); float32, float64, float16 or bfloat16.
        matrices: (N, 2, 3), image -> map, pixel centres at integers. float64 with float64 probabilities, else
            float32.
        batch_index: (N,) int64, the image of each map. Its values decide the shapes of the result: on a CUDA
            device they are read back, which synchronises; leave the tensor on the CPU to avoid that.
        image_sizes: (H, W) of every image.
        threshold: In [0, 1]; a pixel belongs to the mask when its probability is above it.

    Returns:
        Per image its masks (n_i, H_i, W_i), bool, in the order of the instances: views of one buffer. A map
        whose matrix is singular or not finite gives an empty mask.

    Raises:
        TypeError: for a dtype that is not supported.
        ValueError: for a shape, size, threshold or image index that is not.
        NotImplementedError: when the device is neither cpu nor cuda.

    Source: Pose2Seg (Zhang et al., CVPR 2019): the inverse of its affine-align.
    """
    sizes = flatten_pairs(image_sizes, "image_sizes")
    return _C.paste_masks(probabilities, matrices, batch_index, sizes, threshold)
