"""Affine RoI sampling: each instance's own affine window of a feature map."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _C, _library
from ._pairs import as_size

_operators = torch.ops.pose2seg_ops


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

    Args:
        input: Features (B, C, H, W); float32, float64, float16 or bfloat16; contiguous, channels_last or any
            strides. Pixel centres are at integers.
        matrices: (N, 2, 3), input -> output: `[x', y'] = M [x, y, 1]`, in pixels. float64 with float64 input,
            else float32.
        batch_index: (N,) int64, the image of each instance.
        output_size: (h, w) of every window, in pixels.
        convention: Where output pixel (i, j) (column, row) samples the input:

            - `"integer"`: `M^-1 (i, j)`, as `cv2.warpAffine`;
            - `"half_pixel"`: `M^-1 (i + 0.5, j + 0.5) - (0.5, 0.5)`, as `grid_sample(align_corners=False)`;
            - `"pose2seg"`: `D^-1 M^-1 D (i, j)` with `D = diag(W / (W - 1), H / (H - 1))`: what the official
              Pose2Seg weights were trained with.

    Returns:
        (N, C, h, w), of the dtype and device of `input`; channels_last when the channels of `input` lie next
        to each other. An instance whose matrix is singular or not finite, or whose `batch_index` names no
        image, is all zeros.

    Raises:
        TypeError: for a dtype that is not supported.
        ValueError: for a shape, device, size or convention that is not.
        NotImplementedError: when a gradient is asked for, or the device is neither cpu nor cuda.

    Source: the affine-align operation of Pose2Seg (Zhang et al., CVPR 2019, section 3.3).
    """
    size = as_size(output_size, "output_size")
    if torch.compiler.is_compiling():
        return _operators.affine_align(input, matrices, batch_index, size, convention)
    return _C.affine_align(input, matrices, batch_index, size, convention)


def _fake(
    input: Tensor, matrices: Tensor, batch_index: Tensor, output_size: Sequence[int], convention: str
) -> Tensor:
    channels_innermost = input.stride(1) == 1 and input.stride(3) != 1
    memory_format = torch.channels_last if channels_innermost else torch.contiguous_format
    shape = (matrices.shape[0], input.shape[1], *output_size)
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format)


_library.register("affine_align", _fake)
