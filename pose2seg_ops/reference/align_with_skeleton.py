"""Pure-torch `align_with_skeleton`: the references of its two halves, concatenated."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..coco import COCO_LIMBS
from ..keypoints import transform_keypoints
from .affine_align import affine_align
from .skeleton_maps import skeleton_maps


def align_with_skeleton(
    input: Tensor,
    keypoints: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    *,
    convention: str = "integer",
    limbs: Sequence[tuple[int, int]] = COCO_LIMBS,
    sigma: float = 3.0,
    limb_width: float = 1.0,
    signed_visibility: bool = False,
) -> Tensor:
    """See `pose2seg_ops.align_with_skeleton`."""
    windows = affine_align(input, matrices, batch_index, output_size, convention=convention)
    skeletons = skeleton_maps(
        transform_keypoints(keypoints, matrices),
        output_size,
        limbs=limbs,
        sigma=sigma,
        limb_width=limb_width,
        signed_visibility=signed_visibility,
        dtype=input.dtype,
    )
    return torch.cat((windows, skeletons), 1)
