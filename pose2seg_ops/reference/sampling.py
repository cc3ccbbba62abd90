"""What the sampling references share: affine coordinate grids and zero-padded bilinear interpolation."""

import torch
import torch.nn.functional as F
from torch import Tensor


def inverse(matrices: Tensor) -> Tensor:
    """Inverse of 2x3 affine matrices (N, 2, 3); a singular one becomes NaN, which samples zeros."""
    # Scaled first: the determinant of small numbers would underflow in float32.
    scale = matrices[..., :2].abs().amax((-2, -1))
    a, b, d, e = (matrices[..., :2] / scale[..., None, None]).flatten(-2).unbind(-1)
    c, f = matrices[..., 2].unbind(-1)
    determinant = a * e - b * d
    determinant = torch.where(determinant == 0, torch.nan, determinant)
    linear = (e / scale, -b / scale, (b * f - c * e) / scale, -d / scale, a / scale, (c * d - a * f) / scale)
    return (torch.stack(linear, -1) / determinant[..., None]).unflatten(-1, (2, 3))


def affine_coordinates(matrices: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """x and y, each (N, h, w), of every pixel (i, j) of a map of `size` under `matrices` (N, 2, 3)."""
    rows = torch.arange(size[0], dtype=matrices.dtype, device=matrices.device)[:, None]
    columns = torch.arange(size[1], dtype=matrices.dtype, device=matrices.device)
    m = matrices[..., None, None]
    x = m[:, 0, 0] * columns + m[:, 0, 1] * rows + m[:, 0, 2]
    y = m[:, 1, 0] * columns + m[:, 1, 1] * rows + m[:, 1, 2]
    return x, y


def bilinear(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sample `maps` (N, C, H, W) at pixel coordinates x, y (N, h, w): bilinear, each tap outside counts 0."""
    return sample(maps, sampling_grid(x, y, maps.shape[-2], maps.shape[-1]))


def sampling_grid(x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """Pixel coordinates x, y (N, h, w) in a map of this size as the grid (N, h, w, 2) of `sample`."""
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    x, y = torch.where(inside, x, -2.0), torch.where(inside, y, -2.0)
    return torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)


def sample(maps: Tensor, grid: Tensor) -> Tensor:
    """Sample `maps` (N, C, H, W) bilinearly at a grid (N, h, w, 2), which may be of a wider dtype."""
    return F.grid_sample(
        maps, grid.to(maps.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    )
