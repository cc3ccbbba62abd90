"""Affine maps in the plane: 2x3 matrices, source -> destination, on column vectors (x, y, 1).

They are computed by products and sums, because autocast and TF32 would reduce matmul to ten bits of mantissa.
"""

from torch import Tensor


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Returns the matrices (N, 2, 3) that first apply `inner` (N, 2, 3) and then `outer` (N, 2, 3)."""
    product = (outer[:, :, :2, None] * inner[:, None]).sum(2)
    product[:, :, 2] += outer[:, :, 2]
    return product


def mirror(width: int, like: Tensor) -> Tensor:
    """Returns the matrix (1, 2, 3) that reverses rows of `width` pixels, with dtype and device of `like`."""
    return like.new_tensor([[[-1.0, 0, width - 1], [0, 1, 0]]])
