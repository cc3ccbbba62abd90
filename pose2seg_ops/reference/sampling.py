"""Helpers of the sampling references: affine coordinate grids and zero-padded bilinear interpolation."""

import torch
import torch.nn.functional as F
from torch import Tensor


def inverse(matrices: Tensor) -> Tensor:
    """Inverts affine matrices (N, 2, 3). The inverse of a singular matrix is NaN, without a gradient."""
    invertible = _inverse(matrices).isfinite().all(-1).all(-1)[..., None, None]
    identity = torch.eye(2, 3, dtype=matrices.dtype, device=matrices.device)
    # Singular matrices are replaced before the inversion, too, since the gradient of a division by zero is
    # NaN.
    return torch.where(invertible, _inverse(torch.where(invertible, matrices, identity)), torch.nan)


def _inverse(matrices: Tensor) -> Tensor:
    # Scales rows to about 1, since the determinant of very small or large numbers would leave the range of
    # the dtype. The scales are powers of two, which round nothing, and they cancel, also in the gradients.
    scale = matrices[..., :2].detach().abs().amax(-1, keepdim=True).log2().floor().exp2()
    a, b, c, d, e, f = (matrices / scale).flatten(-2).unbind(-1)
    entries = torch.stack((e, -b, b * f - c * e, -d, a, c * d - a * f), -1) / (a * e - b * d)[..., None]
    linear, shift = entries.unflatten(-1, (2, 3)).split((2, 1), -1)
    return torch.cat((linear / scale.mT, shift), -1)


def affine_coordinates(matrices: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Returns x and y, each (N, h, w), of every pixel (i, j) of a map of `size` under `matrices` (N, 2,
    3)."""
    rows = torch.arange(size[0], dtype=matrices.dtype, device=matrices.device)[:, None]
    columns = torch.arange(size[1], dtype=matrices.dtype, device=matrices.device)
    m = matrices[..., None, None]
    x = m[:, 0, 0] * columns + m[:, 0, 1] * rows + m[:, 0, 2]
    y = m[:, 1, 0] * columns + m[:, 1, 1] * rows + m[:, 1, 2]
    return x, y


def bilinear(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Samples `maps` (N, C, H, W) bilinearly at pixel coordinates x, y (N, h, w); a tap outside counts as
    0."""
    return sample(maps, sampling_grid(x, y, maps.shape[-2], maps.shape[-1]))


def sampling_grid(x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """Converts pixel coordinates x, y (N, h, w) of a map of this size to a grid (N, h, w, 2) for `sample`."""
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    x, y = torch.where(inside, x, -2.0), torch.where(inside, y, -2.0)
    return torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)


def sample(maps: Tensor, grid: Tensor) -> Tensor:
    """Samples `maps` (N, C, H, W) bilinearly at a grid (N, h, w, 2), which may have a wider dtype."""
    return F.grid_sample(
        maps, grid.to(maps.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    )
