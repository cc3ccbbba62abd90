"""Affine RoI sampling and skeleton features in one tensor: the input of a pose-guided head."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import reference
from ._arguments import pairs_of
from ._layout import is_channels_last, memory_format
from ._operator import Operator
from ._vmap import fold_into_instances
from .affine_align import (
    PLAIN_MODES,
    _affine_align,
    _affine_align_backward_input,
    _affine_align_backward_matrices,
)
from .coco import COCO_LIMBS
from .keypoints import transform_keypoints
from .reference.align_with_skeleton import move_keypoints
from .skeleton_maps import _skeleton_maps, _skeleton_maps_backward


def align_with_skeleton(
    input: Tensor,
    keypoints: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: Sequence[int],
    *,
    convention: str = "integer",
    limbs: Sequence[tuple[int, int]] = COCO_LIMBS,
    sigma: float = 3.0,
    limb_width: float = 1.0,
    signed_visibility: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Computes `affine_align` and the `skeleton_maps` of the pose of each instance, without a concatenation.

    Both are written into one tensor. With every convention, `matrices` map the keypoints into the
    window, in which one unit is one cell.

    The derivatives with respect to `input`, `keypoints` and `matrices` are those of the two ops, of any order
    and in both modes, also under the transforms of `torch.func`. On devices other than cpu and cuda the
    pure-torch reference runs.

    Args:
        input, matrices, batch_index, output_size, convention: As in `affine_align`.
        keypoints: (N, K, 3), the pose of each instance: x, y in pixels of `input`, and visibility. float64
            if the input is float64, otherwise float32; under autocast also half precision.
        limbs, sigma, limb_width, signed_visibility: As in `skeleton_maps`, in pixels of the output.
        out: The tensor to write the result to, contiguous or channels_last, in place of a new one. No tensor
            may then require a gradient.

    Returns:
        (N, C + K + 2 L, h, w), with the dtype and device of `input`: its C channels, K confidence maps, then
        x and y of each of the L limbs; channels_last if the channels of `input` are adjacent in memory.
        Whatever cannot be sampled or drawn is 0, as in the two ops.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, device, size, convention or number is invalid, or a limb names no joint.

    Source: the input of Pose2Seg's segmentation head (Zhang et al., CVPR 2019, section 3.4).
    """
    return _align_with_skeleton(
        input,
        keypoints,
        matrices,
        batch_index,
        output_size,
        convention,
        limbs,
        sigma,
        limb_width,
        signed_visibility,
        out=out,
    )


def _fake(
    input: Tensor,
    keypoints: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: Sequence[int],
    convention: str,
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    signed_visibility: bool,
) -> Tensor:
    channels = input.shape[1] + keypoints.shape[1] + len(limbs)
    shape = (matrices.shape[0], channels, *output_size)
    return torch.empty(
        shape, dtype=input.dtype, device=input.device, memory_format=memory_format(is_channels_last(input))
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, keypoints, matrices, batch_index, _, ctx.convention, *ctx.style = inputs
    ctx.input_size, ctx.channels_last = input.shape, is_channels_last(input)
    # Only the gradient with respect to the matrices needs the input.
    ctx.save_for_backward(input if ctx.needs_input_grad[2] else None, keypoints, matrices, batch_index)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, keypoints, matrices, batch_index = ctx.saved_tensors
    wants_input, wants_keypoints, wants_matrices, *_ = ctx.needs_input_grad
    grad_windows, grad_skeletons = grad.tensor_split((ctx.input_size[1],), 1)
    grad_input = grad_keypoints = grad_matrices = None
    if wants_input:
        grad_input = _affine_align_backward_input(
            grad_windows,
            matrices,
            batch_index,
            ctx.input_size,
            ctx.channels_last,
            ctx.convention,
            *PLAIN_MODES,
        )
    if wants_keypoints or wants_matrices:
        grad_keypoints, grad_matrices = _skeleton_gradients(keypoints, matrices, grad_skeletons, *ctx.style)
    if wants_matrices:
        grad_matrices = grad_matrices + _affine_align_backward_matrices(
            grad_windows, input, matrices, batch_index, ctx.convention, *PLAIN_MODES
        )
    return grad_input, grad_keypoints, grad_matrices, *[None] * 7


def _skeleton_gradients(
    keypoints: Tensor,
    matrices: Tensor,
    grad_skeletons: Tensor,
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    signed_visibility: bool,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the keypoints and of the matrices, from the gradient of the skeletons."""
    points, visibility = keypoints.split((2, 1), -1)
    moved = transform_keypoints(keypoints, matrices)
    grad_moved = _skeleton_maps_backward(
        grad_skeletons, moved, limbs, sigma, limb_width, 1, signed_visibility, "last"
    )[..., :2, None]
    grad_points = _product(grad_moved, matrices[:, None, :, :2]).sum(-2)
    homogeneous = torch.cat((points, torch.ones_like(visibility)), -1)
    return (
        torch.cat((grad_points, torch.zeros_like(visibility)), -1),
        _product(grad_moved, homogeneous[:, :, None]).sum(1),
    )


def _product(gradient: Tensor, factor: Tensor) -> Tensor:
    """Returns the product, but 0 where the gradient is 0, even if the factor is not finite."""
    return torch.where(gradient == 0, 0.0, gradient * factor)


def _reference(
    input: Tensor,
    keypoints: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    convention: str,
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    signed_visibility: bool,
) -> Tensor:
    return reference.align_with_skeleton(
        input,
        keypoints,
        matrices,
        batch_index,
        output_size,
        convention=convention,
        limbs=pairs_of(limbs),
        sigma=sigma,
        limb_width=limb_width,
        signed_visibility=signed_visibility,
    )


def _composite(
    input: Tensor,
    keypoints: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    convention: str,
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    signed_visibility: bool,
) -> Tensor:
    windows = _affine_align(input, matrices, batch_index, output_size, convention, *PLAIN_MODES)
    moved = move_keypoints(keypoints, matrices)
    style = limbs, sigma, limb_width, 1, signed_visibility, "last"
    return torch.cat((windows, _skeleton_maps(moved, output_size, *style, input.dtype)), 1)


_align_with_skeleton = Operator(
    "align_with_skeleton(Tensor input, Tensor keypoints, Tensor matrices, Tensor batch_index, "
    "SymInt[2] output_size, str convention, int[] limbs, float sigma, float limb_width, "
    "bool signed_visibility) -> Tensor",
    _fake,
    geometry=("keypoints", "matrices"),
    differentiable=("input", "keypoints", "matrices"),
    setup_context=_setup_context,
    backward=_backward,
    composite=_composite,
    vmap=fold_into_instances,
    reference=_reference,
)
