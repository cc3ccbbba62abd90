"""Keypoints under affine maps."""

import torch
from torch import Tensor


def transform_keypoints(keypoints: Tensor, matrices: Tensor) -> Tensor:
    """Move keypoints (N, K, 3: x, y, visibility) by matrices (N, 2, 3); visibility stays.

    As products and sums: autocast and TF32 would compute a matmul with ten bits of mantissa.
    """
    positions = (matrices[:, None, :, :2] * keypoints[:, :, None, :2]).sum(-1) + matrices[:, None, :, 2]
    return torch.cat((positions, keypoints[..., 2:]), -1)
