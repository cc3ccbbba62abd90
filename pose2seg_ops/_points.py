"""Points under affine maps."""

from torch import Tensor


def move_points(points: Tensor, matrices: Tensor) -> Tensor:
    """Points (N, K, 2) moved by matrices (N, 2, 3).

    As products and sums: autocast and TF32 would compute a matmul with ten bits of mantissa.
    """
    return (matrices[:, None, :, :2] * points[:, :, None]).sum(-1) + matrices[:, None, :, 2]
