"""Affine RoI sampling: samples one affine window of a feature map per instance."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import reference
from ._autograd import saved_arguments
from ._gradient_operator import GradientOperator, gradients_of
from ._layout import is_channels_last, memory_format
from ._operator import Operator
from ._vmap import fold_into_instances
from .reference.gather import affine_align_by_gather

_MODES = "str convention, int sampling_ratio, str interpolation, str padding_mode, float fill"
_MODE_NAMES = tuple(mode.split(" ")[1] for mode in _MODES.split(", "))
PLAIN_MODES = 1, "bilinear", "zeros", 0.0  # the defaults of the arguments after `convention`
_WITHOUT_FILL = {"fill": 0.0}


def affine_align(
    input: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: Sequence[int],
    *,
    convention: str = "integer",
    sampling_ratio: int = 1,
    interpolation: str = "bilinear",
    padding_mode: str = "zeros",
    fill: float = 0.0,
    out: Tensor | None = None,
) -> Tensor:
    """Samples one affine or projective window per instance, as RoIAlign does for boxes.

    Neither a sampling grid nor a copy of the features per instance is stored.

    Differentiable with respect to `input` and `matrices`. Both gradients are summed in a fixed order, so they
    have the same bits on every run. Where a sampling point lies exactly on a row or a column of pixels the
    interpolation has a kink, and the gradient with respect to `matrices` is that of the side below or to the
    right. The gradient of an instance whose output is all zeros (see below) is 0.

    Derivatives of higher order, forward mode and the transforms of `torch.func` are supported; `torch.vmap`
    over any of the tensors is one call of the kernel. The derivatives of the gradient with respect to
    `matrices`, and tangents of `matrices`, are computed in plain torch, which is slower.

    Args:
        input: Features (B, C, H, W); float32, float64, float16 or bfloat16; contiguous, channels_last or any
            strides. Pixel centres are at integers.
        matrices: (N, 2, 3), input -> output: `[x', y'] = M [x, y, 1]`, in pixels; or (N, 3, 3), a projective
            map as in `cv2.warpPerspective`, whose scale has no effect. float64 if the input
            is float64, otherwise float32; under autocast also half precision, which is cast to float32.
        batch_index: (N,) int64, the index of the image of each instance.
        output_size: (h, w) of every window, in pixels.
        convention: Where output pixel (i, j) (column, row) samples the input:

            - `"integer"`: `M^-1 (i, j)`, as in `cv2.warpAffine`;
            - `"half_pixel"`: `M^-1 (i + 0.5, j + 0.5) - (0.5, 0.5)`, as in `grid_sample` without
              `align_corners`;
            - `"pose2seg"`: `D^-1 M^-1 D (i, j)` with `D = diag(W / (W - 1), H / (H - 1))`: used to train
              the official Pose2Seg weights;
            - `"inverse"`: `M (i, j)`: the matrices map output -> input, as with `cv2.WARP_INVERSE_MAP`.
        sampling_ratio: The samples along each side of an output pixel, which are averaged, from 1 to 64. With
            0, the number is that of RoIAlign: samples are at most one pixel of the input apart, at the centre
            of the window for a projective map. There are at most 64 or, if the window is not rotated, four
            times the number of pixels along the longer side of the input.
        interpolation: `"nearest"`, `"bilinear"` or `"bicubic"`, as in `grid_sample`. With `"nearest"`, the
            gradient with respect to the matrices is 0.
        padding_mode: What is read outside the input, one tap at a time; weights are not renormalised.

            - `"zeros"`: 0;
            - `"fill"`: `fill`;
            - `"border"`: the nearest pixel of the input;
            - `"reflection"`: the input, reflected at the outer edges of its pixels, as in `grid_sample`
              without `align_corners`;
            - `"roi_align"`: the nearest pixel for samples at most one pixel outside of the first and last
              pixel centres (x from -1 to W, y from -1 to H), 0 for all others.

            Samples behind the horizon of a projective map are 0, or `fill` with `"fill"`. The window's centre
            is in front of the horizon.
        fill: The value outside the input with `padding_mode="fill"`; otherwise it must be 0.
        out: The tensor to write the result to, contiguous or channels_last, in place of a new one. No tensor
            may then require a gradient.

    Returns:
        (N, C, h, w), with the dtype and device of `input`; channels_last if the channels of `input` are
        adjacent in memory. The output of an instance whose matrix has no finite inverse, or whose
        `batch_index` is out of range, is all zeros.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, device, size, convention or mode is invalid.
        NotImplementedError: with `sampling_ratio` 0, for second derivatives in `matrices` and their tangents.

    On devices other than cpu and cuda the pure-torch reference runs, with a warning on first use.

    Source: the affine-align operation of Pose2Seg (Zhang et al., CVPR 2019, section 3.3).
    """
    return _affine_align(
        input,
        matrices,
        batch_index,
        output_size,
        convention,
        sampling_ratio,
        interpolation,
        padding_mode,
        fill,
        out=out,
    )


def _fake(
    input: Tensor, matrices: Tensor, batch_index: Tensor, output_size: Sequence[int], *modes: Any
) -> Tensor:
    shape = (matrices.shape[0], input.shape[1], *output_size)
    return torch.empty(
        shape, dtype=input.dtype, device=input.device, memory_format=memory_format(is_channels_last(input))
    )


def _fake_backward_input(
    grad: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    input_size: Sequence[int],
    channels_last: bool,
    *modes: Any,
) -> Tensor:
    return torch.empty(
        input_size, dtype=grad.dtype, device=grad.device, memory_format=memory_format(channels_last)
    )


def _fake_backward_matrices(
    grad: Tensor, input: Tensor, matrices: Tensor, batch_index: Tensor, *modes: Any
) -> Tensor:
    return torch.empty_like(matrices, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, matrices, batch_index, _, *ctx.modes = inputs
    ctx.input_size, ctx.channels_last = input.shape, is_channels_last(input)
    # Only the gradient with respect to the matrices needs the input.
    ctx.save_for_backward(input if ctx.needs_input_grad[1] else None, matrices, batch_index)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, matrices, batch_index = ctx.saved_tensors
    grad_input = grad_matrices = None
    if ctx.needs_input_grad[0]:
        grad_input = _affine_align_backward_input(
            grad, matrices, batch_index, ctx.input_size, ctx.channels_last, *ctx.modes
        )
    if ctx.needs_input_grad[1]:
        grad_matrices = _affine_align_backward_matrices(grad, input, matrices, batch_index, *ctx.modes)
    return grad_input, grad_matrices, None, None, *(None for _ in ctx.modes)


def _reference(
    input: Tensor, matrices: Tensor, batch_index: Tensor, output_size: tuple[int, int], *modes: Any
) -> Tensor:
    options: dict[str, Any] = dict(zip(_MODE_NAMES, modes, strict=True))
    return reference.affine_align(input, matrices, batch_index, output_size, **options)


def _composite_backward_input(
    grad: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    input_size: Sequence[int],
    channels_last: bool,
    *options: Any,
) -> Tensor:
    arguments = grad.new_zeros(input_size), matrices, batch_index, grad.shape[2:], *options
    return gradients_of(affine_align_by_gather, arguments, [0], grad)[0]


def _composite_backward_matrices(
    grad: Tensor, input: Tensor, matrices: Tensor, batch_index: Tensor, *options: Any
) -> Tensor:
    arguments = input, matrices, batch_index, grad.shape[2:], *options
    return gradients_of(affine_align_by_gather, arguments, [1], grad)[1]


def _backward_of_backward_input(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # <grad, backward_input(windows)> = <affine_align(grad), windows>, since affine_align is linear without a
    # fill.
    arguments = saved_arguments(_affine_align_backward_input, ctx)
    windows, matrices, batch_index, _, _, *modes, _ = arguments
    modes.append(0.0)  # the fill
    grad_windows = grad_matrices = None
    if ctx.needs_input_grad[0]:
        grad_windows = _affine_align(grad, matrices, batch_index, windows.shape[2:], *modes)
    if ctx.needs_input_grad[1]:
        grad_matrices = _affine_align_backward_matrices(windows, grad, matrices, batch_index, *modes)
    return grad_windows, grad_matrices, *[None] * (len(arguments) - 2)


_affine_align = Operator(
    "affine_align(Tensor input, Tensor matrices, Tensor batch_index, SymInt[2] output_size, "
    f"{_MODES}) -> Tensor",
    _fake,
    geometry=("matrices",),
    differentiable=("input", "matrices"),
    linear={"input": _WITHOUT_FILL},
    setup_context=_setup_context,
    backward=_backward,
    composite=affine_align_by_gather,
    vmap=fold_into_instances,
    reference=_reference,
)
_affine_align_backward_input = GradientOperator(
    "affine_align_backward_input(Tensor grad, Tensor matrices, Tensor batch_index, SymInt[] input_size, "
    f"bool channels_last, {_MODES}) -> Tensor",
    _fake_backward_input,
    differentiable=("grad", "matrices"),
    linear={"grad": {}},
    backward=_backward_of_backward_input,
    composite=_composite_backward_input,
    vmap=fold_into_instances,
)
_affine_align_backward_matrices = GradientOperator(
    "affine_align_backward_matrices(Tensor grad, Tensor input, Tensor matrices, Tensor batch_index, "
    f"{_MODES}) -> Tensor",
    _fake_backward_matrices,
    differentiable=("grad", "input", "matrices"),
    linear={"grad": {}, "input": _WITHOUT_FILL},
    composite=_composite_backward_matrices,
    vmap=fold_into_instances,
)
