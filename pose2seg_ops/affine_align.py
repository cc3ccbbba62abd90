"""Affine RoI sampling: each instance's own affine window of a feature map."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import reference
from ._layout import is_channels_last, memory_format
from ._operator import Operator, gradient_operator


def affine_align(
    input: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: Sequence[int],
    *,
    convention: str = "integer",
) -> Tensor:
    """Samples one affine window per instance, as RoIAlign does for boxes.

    There is no materialised grid, and no copy of the features per instance.

    Interpolation is bilinear; a tap outside the input counts 0, without renormalisation.

    There are gradients to `input` and to `matrices`; they cannot be differentiated again. Both are sums in a
    fixed order, the same bits on every run. Where a sampled point lies exactly on a row or a column of pixels
    the interpolation has a kink, and the gradient to `matrices` is that of the side below or to the right.
    An instance that is all zeros (see below) has none.

    Args:
        input: Features (B, C, H, W); float32, float64, float16 or bfloat16; contiguous, channels_last or any
            strides. Pixel centres are at integers.
        matrices: (N, 2, 3), input -> output: `[x', y'] = M [x, y, 1]`, in pixels. float64 with float64 input,
            else float32; under autocast half precision as well, which is taken to float32.
        batch_index: (N,) int64, the image of each instance.
        output_size: (h, w) of every window, in pixels.
        convention: Where output pixel (i, j) (column, row) samples the input:

            - `"integer"`: `M^-1 (i, j)`, as `cv2.warpAffine`;
            - `"half_pixel"`: `M^-1 (i + 0.5, j + 0.5) - (0.5, 0.5)`, as `grid_sample(align_corners=False)`;
            - `"pose2seg"`: `D^-1 M^-1 D (i, j)` with `D = diag(W / (W - 1), H / (H - 1))`: what the official
              Pose2Seg weights were trained with.

    Returns:
        (N, C, h, w), of the dtype and device of `input`; channels_last when the channels of `input` lie next
        to each other. An instance whose matrix has no finite inverse, or whose `batch_index` names no
        image, is all zeros.

    Raises:
        TypeError: if an argument is not a dense tensor, or its dtype or type is not supported.
        ValueError: if a shape, device, size or convention is not.
        NotImplementedError: at a second derivative, or for a tangent of forward mode.

    On a device without kernels, which is neither cpu nor cuda, the pure-torch reference runs, and warns once.

    Source: the affine-align operation of Pose2Seg (Zhang et al., CVPR 2019, section 3.3).
    """
    return _affine_align(input, matrices, batch_index, output_size, convention)


def _fake(
    input: Tensor, matrices: Tensor, batch_index: Tensor, output_size: Sequence[int], convention: str
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
    convention: str,
) -> Tensor:
    return torch.empty(
        input_size, dtype=grad.dtype, device=grad.device, memory_format=memory_format(channels_last)
    )


def _fake_backward_matrices(
    grad: Tensor, input: Tensor, matrices: Tensor, batch_index: Tensor, convention: str
) -> Tensor:
    return torch.empty_like(matrices, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, matrices, batch_index, _, ctx.convention = inputs
    ctx.input_size, ctx.channels_last = input.shape, is_channels_last(input)
    # Only the gradient to the matrices looks at the input.
    ctx.save_for_backward(input if ctx.needs_input_grad[1] else None, matrices, batch_index)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, matrices, batch_index = ctx.saved_tensors
    grad_input = grad_matrices = None
    if ctx.needs_input_grad[0]:
        grad_input = _affine_align_backward_input(
            grad, matrices, batch_index, ctx.input_size, ctx.channels_last, ctx.convention
        )
    if ctx.needs_input_grad[1]:
        grad_matrices = _affine_align_backward_matrices(grad, input, matrices, batch_index, ctx.convention)
    return grad_input, grad_matrices, None, None, None


def _reference(
    input: Tensor, matrices: Tensor, batch_index: Tensor, output_size: tuple[int, int], convention: str
) -> Tensor:
    return reference.affine_align(input, matrices, batch_index, output_size, convention=convention)


_affine_align = Operator(
    "affine_align(Tensor input, Tensor matrices, Tensor batch_index, SymInt[2] output_size, str convention) "
    "-> Tensor",
    _fake,
    geometry=("matrices",),
    differentiable=("input", "matrices"),
    setup_context=_setup_context,
    backward=_backward,
    reference=_reference,
)
_affine_align_backward_input = gradient_operator(
    "affine_align_backward_input(Tensor grad, Tensor matrices, Tensor batch_index, SymInt[] input_size, "
    "bool channels_last, str convention) -> Tensor",
    _fake_backward_input,
    differentiable=("grad", "matrices"),
)
_affine_align_backward_matrices = gradient_operator(
    "affine_align_backward_matrices(Tensor grad, Tensor input, Tensor matrices, Tensor batch_index, "
    "str convention) -> Tensor",
    _fake_backward_matrices,
    differentiable=("grad", "input", "matrices"),
)
