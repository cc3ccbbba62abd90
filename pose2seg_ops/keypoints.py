"""Affine transforms of keypoints."""

import torch
from torch import Tensor


def transform_keypoints(keypoints: Tensor, matrices: Tensor) -> Tensor:
    """Applies affine maps to keypoints, as `align_with_skeleton` does to move each pose into its window.

    This is plain torch: it runs on every device and supports all kinds of gradients. Give missing joints any
    finite position, such as 0; a NaN would make the gradient of its matrix NaN.

    Args:
        keypoints: (N, K, 3) x, y and visibility, floating point.
        matrices: (N, 2, 3), of the same dtype and device.

    Returns:
        (N, K, 3), x and y transformed and the visibility unchanged, with the dtype and device of both.

    Raises:
        RuntimeError: if the shapes or the devices do not match.
    """
    # Written as products and sums, since autocast and TF32 would compute a matmul with ten bits of mantissa.
    positions = (matrices[:, None, :, :2] * keypoints[:, :, None, :2]).sum(-1) + matrices[:, None, :, 2]
    return torch.cat((positions, keypoints[..., 2:]), -1)
