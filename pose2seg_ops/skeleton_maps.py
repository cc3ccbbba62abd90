"""Skeleton features: a confidence map for every joint and a part affinity field for every limb."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _C
from ._pairs import as_size, flatten_pairs
from .coco import COCO_LIMBS


def skeleton_maps(
    keypoints: Tensor,
    output_size: Sequence[int],
    *,
    limbs: Sequence[tuple[int, int]] = COCO_LIMBS,
    sigma: float = 3.0,
    limb_width: float = 1.0,
    stride: int = 1,
    signed_visibility: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draws poses as confidence maps and part affinity fields, in one pass.

    Cell (c, r) of a map lies at `stride / 2 - 0.5 + stride * (c, r)` in keypoint units. A joint's confidence
    is `exp(-d^2 / (2 sigma^2))` where that exceeds about 0.01, else 0. A limb's field holds the unit vector
    from its first joint to its second, in the cells of their box (widened by `limb_width`, rounded) that are
    nearer than `limb_width` cells to the line through them. A joint with visibility 0 (or below, or NaN), or
    not finite, is not drawn.

    Args:
        keypoints: (N, K, 3), or (N, P, K, 3) for P people in each map; float32 or float64; x, y, visibility.
            Within a map people are drawn in order: confidences keep the maximum, limbs the last one.
        output_size: (h, w) of the maps, in cells.
        limbs: Pairs of joints (from, to), at most 256.
        sigma: Of the confidence maps, in keypoint units.
        limb_width: Half the width of a limb, in cells.
        stride: Keypoint units per cell.
        signed_visibility: Negate the confidence of joints with visibility exactly 1 (labelled but occluded),
            as Pose2Seg's weights expect.
        dtype: Of the result; default that of `keypoints`.

    Returns:
        (N, K + 2 L, h, w): K confidence maps, then x and y of each of the L limbs.

    Raises:
        TypeError: for a dtype that is not supported.
        ValueError: for a shape, size or number out of range, or a limb that names no joint.
        NotImplementedError: when a gradient is asked for, or the device is neither cpu nor cuda.

    Source: OpenPose (Cao et al., CVPR 2017), as drawn by Pose2Seg (Zhang et al., CVPR 2019, section 3.4).
    """
    size = as_size(output_size, "output_size")
    return _C.skeleton_maps(
        keypoints, size, flatten_pairs(limbs, "limbs"), sigma, limb_width, stride, signed_visibility, dtype
    )
