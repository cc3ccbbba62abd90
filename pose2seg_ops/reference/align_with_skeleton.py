"""Pure-torch `align_with_skeleton`: concatenates the two references."""

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
        move_keypoints(keypoints, matrices),
        output_size,
        limbs=limbs,
        sigma=sigma,
        limb_width=limb_width,
        signed_visibility=signed_visibility,
        dtype=input.dtype,
    )
    return torch.cat((windows, skeletons), 1)


def move_keypoints(keypoints: Tensor, matrices: Tensor) -> Tensor:
    """Moves poses (N, K, 3) into their windows. Joints that have no finite position there are not drawn."""
    # They are replaced before the transform, whose gradient would otherwise be NaN.
    drawn = transform_keypoints(keypoints, matrices).isfinite().all(-1)[..., None]
    finite = matrices.isfinite().all(-1).all(-1)[:, None, None]
    return transform_keypoints(torch.where(drawn, keypoints, 0.0), torch.where(finite, matrices, 0.0))
