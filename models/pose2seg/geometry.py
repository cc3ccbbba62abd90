"""Affine maps in the plane: 2x3 matrices, source -> destination, on column vectors (x, y, 1).

Written as products and sums, not as matmul, which autocast and TF32 would compute with ten bits of mantissa.
"""

from torch import Tensor


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The matrices (N, 2, 3) that apply `inner` (N, 2, 3) first and `outer` (N, 2, 3) then."""
    product = (outer[:, :, :2, None] * inner[:, None]).sum(2)
    product[:, :, 2] += outer[:, :, 2]
    return product
