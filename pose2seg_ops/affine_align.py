"""Affine RoI sampling: each instance's own affine window of a feature map."""

from collections.abc import Sequence

from torch import Tensor

from . import _C
from ._pairs import as_size


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
    return _C.affine_align(input, matrices, batch_index, as_size(output_size, "output_size"), convention)
