"""Pure-torch `affine_align` by operations that have derivatives of all orders, in forward mode as well."""

import torch
from torch import Tensor

from .sampling_modes import sample_points, sampling_transforms


def affine_align_by_gather(
    input: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    convention: str,
    sampling_ratio: int,
    interpolation: str,
    padding_mode: str,
    fill: float,
) -> Tensor:
    """Computes `affine_align`, whose derivatives of higher orders and in forward mode are those of this.

    It is slower: `grid_sample` has no forward mode and, in some releases of torch, no second derivatives. The
    shapes do not depend on values, so vmap and torch.compile can trace it. `sampling_ratio` must not be 0.
    """
    if sampling_ratio == 0:
        raise NotImplementedError(
            "sampling_ratio must be at least 1 for second derivatives and forward mode, got 0"
        )
    images, channels, height, width = input.shape
    if input.numel() == 0:  # nothing to gather
        return input.new_zeros(matrices.shape[0], channels, *output_size)
    compute = torch.float64 if input.dtype == torch.float64 else torch.float32
    has_image = (batch_index >= 0) & (batch_index < images)
    to_input = sampling_transforms(matrices, convention, (height, width), output_size)
    samples_any = (has_image & to_input.detach().isfinite().flatten(1).all(1))[:, None, None]
    to_input = torch.where(samples_any, to_input, torch.eye(3, dtype=to_input.dtype, device=input.device))
    ratios = sampling_ratio, sampling_ratio
    x, y, is_there = sample_points(to_input, output_size, ratios, padding_mode, (height, width))
    x, y = torch.where(is_there, x, 0.0), torch.where(is_there, y, 0.0)
    image = torch.where(has_image, batch_index, 0)[:, None, None]
    sums = torch.zeros((), dtype=compute, device=input.device)
    for row, weight_y, has_row in _taps(y, height, interpolation, padding_mode):
        for column, weight_x, has_column in _taps(x, width, interpolation, padding_mode):
            pixels = input[image, :, row, column].to(compute) - fill  # (N, rows, columns, C)
            is_pixel = (has_row & has_column & is_there)[..., None]
            sums = sums + torch.where(is_pixel, pixels, 0.0) * (weight_x * weight_y).to(compute)[..., None]
    pooled = sums.unflatten(2, (output_size[1], sampling_ratio)).unflatten(
        1, (output_size[0], sampling_ratio)
    )
    windows = torch.where(samples_any[..., None], pooled.mean((2, 4)) + fill, 0.0)
    return windows.movedim(-1, 1).to(input.dtype)


def _taps(x: Tensor, side: int, interpolation: str, padding_mode: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Returns the pixels that are read along an axis, their weights, and whether they exist."""
    if interpolation == "nearest":
        first, weights = _folded(x, side, padding_mode).detach().round(), [torch.ones_like(x)]
    else:
        first = x.detach().floor()
        t = x - first
        weights = [1 - t, t]
        if interpolation == "bicubic":
            first = first - 1
            weights = [_far(t + 1), _near(t), _near(1 - t), _far(2 - t)]
    taps = []
    for k, weight in enumerate(weights):
        at = _folded(first + k, side, padding_mode)
        taps.append((at.clamp(0, side - 1).long(), weight, (at >= 0) & (at <= side - 1)))
    return taps


def _folded(x: Tensor, side: int, padding_mode: str) -> Tensor:
    """Returns the position in the input that is read at `x`."""
    if padding_mode in ("zeros", "fill"):
        return x
    if padding_mode == "reflection":
        x = (x + 0.5).remainder(2 * side)
        x = torch.where(x > side, 2 * side - x, x) - 0.5
    return x.clamp(0, side - 1)


# The cubic convolution of torch and OpenCV.
_A = -0.75


def _near(x: Tensor) -> Tensor:
    return ((_A + 2) * x - (_A + 3)) * x * x + 1


def _far(x: Tensor) -> Tensor:
    return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
