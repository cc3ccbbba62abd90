"""Pure-torch `paste_masks`: every probability map sampled at every pixel of its image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .sampling import affine_coordinates, bilinear, inverse


def paste_masks(
    probabilities: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    *,
    threshold: float | None = 0.5,
) -> list[Tensor]:
    """See `pose2seg_ops.paste_masks`."""
    compute = matrices.dtype
    for image in batch_index.tolist():
        if not 0 <= image < len(image_sizes):
            raise ValueError(f"batch_index must name one of the {len(image_sizes)} images, got {image}")
    invertible = inverse(matrices).isfinite().all(-1).all(-1)
    masks = []
    for image, size in enumerate(image_sizes):
        people = (batch_index == image).nonzero()[:, 0].to(probabilities.device)
        x, y = affine_coordinates(matrices[people], size)
        sampled = bilinear(probabilities[people, None].to(compute), x, y)[:, 0]
        pasted = _opacities(sampled) if threshold is None else sampled > threshold
        masks.append(pasted * invertible[people, None, None])
    return masks


def _opacities(probabilities: Tensor) -> Tensor:
    within = probabilities.nan_to_num(0.0, 1.0, 0.0).clamp(0, 1)
    return (within * 255 + 0.5).to(torch.uint8)
