"""Keypoints under affine maps."""

import torch
from torch import Tensor


def transform_keypoints(keypoints: Tensor, matrices: Tensor) -> Tensor:
    """Keypoints under affine maps, as `align_with_skeleton` moves each pose into its window.

    Plain torch: it runs on every device, and has all gradients.

    Args:
        keypoints: (N, K, 3) x, y and visibility, floating point.
        matrices: (N, 2, 3), of the same dtype and device.

    Returns:
        (N, K, 3), x and y moved and the visibility as it was, of the dtype and device of both.

    Raises:
        RuntimeError: for shapes that do not fit, and for two devices.
    """
    # As products and sums: autocast and TF32 would compute a matmul with ten bits of mantissa.
    positions = (matrices[:, None, :, :2] * keypoints[:, :, None, :2]).sum(-1) + matrices[:, None, :, 2]
    return torch.cat((positions, keypoints[..., 2:]), -1)
