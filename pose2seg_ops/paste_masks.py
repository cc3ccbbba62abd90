"""Mask pasting: resamples the probability map of each instance into its image, as a mask or as opacities."""

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
    threshold: float | None = 0.5,
    out: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Samples every probability map at the pixels of its image, bilinearly and 0 outside, and thresholds it.

    Only the bounding box of the footprint of each map is sampled. Positions and interpolated values are
    rounded in the same way on every device, so the same pixels are set. Under torch.compile the number of
    masks of each image is an unbacked size.

    Args:
        probabilities: (N, h, w); float32, float64, float16 or bfloat16.
        matrices: (N, 2, 3), image -> map, pixel centres at integers. float64 if the probabilities are
            float64, otherwise float32; under autocast also half precision, which is cast to float32.
        batch_index: (N,) int64, the index of the image of each map. Its values determine the shapes of the
            result, so a CUDA tensor is copied to the host, which synchronises; pass a CPU tensor to avoid it.
        image_sizes: (H, W) of every image.
        threshold: In [0, 1]; a pixel belongs to the mask when its probability is above it. With None, the
            probabilities themselves are returned, as opacities: multiplied by 255 and rounded.
        out: The tensors to write the result to, contiguous, one per image, in place of new ones.

    Returns:
        One tensor per image: its masks (n_i, H_i, W_i), bool, in the order of the instances. With `threshold`
        None, they are opacities, uint8, for example the alpha channel of a cut-out. A map whose matrix has no
        finite inverse gives an empty mask. Neither has a gradient: if probabilities at the resolution of an
        image need one, `affine_align` with the inverse matrices returns them as floating point.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, size, threshold or image index is invalid. Maps must be less than
            32768 x 32768.
        NotImplementedError: if the device is neither cpu nor cuda.

    Source: Pose2Seg (Zhang et al., CVPR 2019): the inverse of its affine-align.
    """
    return _paste_masks(probabilities, matrices, batch_index, image_sizes, threshold, out=out)


def _fake(
    probabilities: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    image_sizes: Sequence[int],
    threshold: float | None,
) -> list[Tensor]:
    sizes = zip(image_sizes[::2], image_sizes[1::2], strict=True)
    people = torch.library.get_ctx().new_dynamic_size
    dtype = torch.uint8 if threshold is None else torch.bool
    return [probabilities.new_empty(people(), height, width, dtype=dtype) for height, width in sizes]


_paste_masks = Operator(
    "paste_masks(Tensor probabilities, Tensor matrices, Tensor batch_index, SymInt[] image_sizes, "
    "float? threshold) -> Tensor[]",
    _fake,
    pairs=("image_sizes",),
    geometry=("matrices",),
)
