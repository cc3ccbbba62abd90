"""Pasting: each instance's probability map back into its image, as a binary mask."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ._operator import Operator


def paste_masks(
    probabilities: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    image_sizes: Sequence[Sequence[int]],
    *,
    threshold: float = 0.5,
) -> list[Tensor]:
    """Samples every probability map at the pixels of its image, bilinearly and 0 outside, and thresholds.

    Only the box around each map's footprint in the image is sampled. Positions and means are rounded alike on
    every device, so that the same pixels are set. Under torch.compile the number of masks of each image is a
    size that only running tells.

    Args:
        probabilities: (N, h, w); float32, float64, float16 or bfloat16.
        matrices: (N, 2, 3), image -> map, pixel centres at integers. float64 with float64 probabilities, else
            float32; under autocast half precision as well, which is taken to float32.
        batch_index: (N,) int64, the image of each map. Its values decide the shapes of the result: on a CUDA
            device they are read back, which synchronises; leave the tensor on the CPU to avoid that.
        image_sizes: (H, W) of every image.
        threshold: In [0, 1]; a pixel belongs to the mask when its probability is above it.

    Returns:
        Per image its masks (n_i, H_i, W_i), bool, in the order of the instances. A map
        whose matrix has no finite inverse gives an empty mask.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, size, threshold or image index is not; maps are less than 32768 x 32768.
        NotImplementedError: if the device is neither cpu nor cuda.

    Source: Pose2Seg (Zhang et al., CVPR 2019): the inverse of its affine-align.
    """
    return _paste_masks(probabilities, matrices, batch_index, image_sizes, threshold)


def _fake(
    probabilities: Tensor, matrices: Tensor, batch_index: Tensor, image_sizes: Sequence[int], threshold: float
) -> list[Tensor]:
    sizes = zip(image_sizes[::2], image_sizes[1::2], strict=True)
    people = torch.library.get_ctx().new_dynamic_size
    return [probabilities.new_empty(people(), height, width, dtype=torch.bool) for height, width in sizes]


_paste_masks = Operator(
    "paste_masks(Tensor probabilities, Tensor matrices, Tensor batch_index, SymInt[] image_sizes, "
    "float threshold) -> Tensor[]",
    _fake,
    pairs=("image_sizes",),
    geometry=("matrices",),
)
