"""Skeleton features: a confidence map for every joint and a part affinity field for every limb."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import reference
from ._arguments import as_integers, pairs_of
from ._gradient_operator import GradientOperator, gradients_of
from ._operator import Operator
from ._vmap import fold_into_instances
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
    limb_overlap: str = "last",
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Draws poses as confidence maps and part affinity fields, in one pass.

    Cell (c, r) of a map lies at `stride / 2 - 0.5 + stride * (c, r)` in keypoint units. The confidence of a
    joint is `exp(-d^2 / (2 sigma^2))` where that exceeds about 0.01, otherwise 0. The field of a limb holds
    the unit vector from its first joint to its second, in the cells of their bounding box (widened by
    `limb_width`, rounded) that are less than `limb_width` cells from the line through them. A joint that is
    not finite, or whose visibility is not above 0, is not drawn.

    The gradient with respect to x and y is that of the values; the cutoffs are treated as constant. The
    gradient of a confidence goes to the person that supplied the value of the cell (of equal values, the
    first), that of a field to the people whose limb it shows. The gradient with respect to visibility is 0.
    Sums have a fixed order, so the bits are the same on every run. On devices other than cpu and cuda the
    pure-torch reference runs.

    Derivatives of higher order, forward mode and the transforms of `torch.func` are supported. `torch.vmap`
    is one call of the kernel; tangents and second derivatives are computed in plain torch, which is slower.

    Args:
        keypoints: (N, K, 3), or (N, P, K, 3) for P people in each map; x, y, visibility; float32 or float64,
            under autocast also half precision, which is cast to float32. The people of a map are drawn in
            order, and a confidence map keeps the maximum.
        output_size: (h, w) of the maps, in cells.
        limbs: Pairs of joints (from, to), at most 256.
        sigma: Standard deviation of the confidence maps, in keypoint units.
        limb_width: Half the width of a limb, in cells.
        stride: Keypoint units per cell.
        signed_visibility: Negates the confidence of joints with visibility exactly 1 (labelled but occluded),
            as Pose2Seg's weights expect.
        limb_overlap: The value of a cell that limbs of several people cover: `"last"`, the vector of the last
            one, as in Pose2Seg; `"mean"`, the mean of their unit vectors, as in OpenPose.
        dtype: The dtype of the result; by default that of `keypoints`.
        out: The tensor to write the result to, contiguous or channels_last, in place of a new one. No tensor
            may then require a gradient.

    Returns:
        (N, K + 2 L, h, w): K confidence maps, then x and y of each of the L limbs; on the device of
        `keypoints`.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, size, number or limb_overlap is out of range, or a limb names no joint.

    Source: OpenPose (Cao et al., CVPR 2017), as drawn by Pose2Seg (Zhang et al., CVPR 2019, section 3.4).
    """
    return _skeleton_maps(
        keypoints,
        output_size,
        limbs,
        sigma,
        limb_width,
        stride,
        signed_visibility,
        limb_overlap,
        dtype,
        out=out,
    )


def _fake(
    keypoints: Tensor,
    output_size: Sequence[int],
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    stride: int,
    signed_visibility: bool,
    limb_overlap: str,
    dtype: torch.dtype | None,
) -> Tensor:
    channels = keypoints.shape[-2] + len(limbs)
    return keypoints.new_empty((keypoints.shape[0], channels, *output_size), dtype=dtype or keypoints.dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    keypoints, _, *ctx.style, _ = inputs
    ctx.save_for_backward(keypoints)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (keypoints,) = ctx.saved_tensors
    grad_keypoints = _skeleton_maps_backward(grad, keypoints, *ctx.style)
    return grad_keypoints, *[None] * 8


def _fake_backward(grad: Tensor, keypoints: Tensor, *style: Any) -> Tensor:
    return keypoints.new_empty(keypoints.shape)


def _reference(
    keypoints: Tensor,
    output_size: tuple[int, int],
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    stride: int,
    signed_visibility: bool,
    limb_overlap: str,
    dtype: torch.dtype | None,
) -> Tensor:
    return reference.skeleton_maps(
        keypoints,
        output_size,
        limbs=pairs_of(limbs),
        sigma=sigma,
        limb_width=limb_width,
        stride=stride,
        signed_visibility=signed_visibility,
        limb_overlap=limb_overlap,
        dtype=dtype,
    )


def _composite_backward(grad: Tensor, keypoints: Tensor, limbs: Sequence[Any], *style: Any) -> Tensor:
    # In eager mode these are the limbs as the caller gave them.
    arguments = keypoints, grad.shape[2:], as_integers(limbs, "limbs"), *style, grad.dtype
    return gradients_of(_reference, arguments, [0], grad)[0]


_skeleton_maps = Operator(
    "skeleton_maps(Tensor keypoints, SymInt[2] output_size, int[] limbs, float sigma, float limb_width, "
    "int stride, bool signed_visibility, str limb_overlap, ScalarType? dtype) -> Tensor",
    _fake,
    geometry=("keypoints",),
    differentiable=("keypoints",),
    setup_context=_setup_context,
    backward=_backward,
    composite=_reference,
    vmap=fold_into_instances,
    reference=_reference,
)
_skeleton_maps_backward = GradientOperator(
    "skeleton_maps_backward(Tensor grad, Tensor keypoints, int[] limbs, float sigma, float limb_width, "
    "int stride, bool signed_visibility, str limb_overlap) -> Tensor",
    _fake_backward,
    differentiable=("grad", "keypoints"),
    linear={"grad": {}},
    composite=_composite_backward,
    vmap=fold_into_instances,
)
