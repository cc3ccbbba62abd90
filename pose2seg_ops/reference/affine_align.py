"""Pure-torch `affine_align`: one grid_sample per image, with expanded rather than copied features."""

import torch
from torch import Tensor

from .sampling import affine_coordinates, inverse, sample, sampling_grid
from .sampling_modes import sample_windows, sampling_transforms


def affine_align(
    input: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    *,
    convention: str = "integer",
    sampling_ratio: int = 1,
    interpolation: str = "bilinear",
    padding_mode: str = "zeros",
    fill: float = 0.0,
) -> Tensor:
    """See `pose2seg_ops.affine_align`."""
    compute = torch.float64 if input.dtype == torch.float64 else torch.float32
    modes = sampling_ratio, interpolation, padding_mode, fill
    is_plain = modes == (1, "bilinear", "zeros", 0) and matrices.shape[-2] == 2 and convention != "inverse"
    matrices = matrices.to(compute)
    # Sizes are taken from shapes: `len` would fix the number of instances in an exported graph.
    output = input.new_zeros(matrices.shape[0], input.shape[1], *output_size, dtype=compute)
    for image in range(input.shape[0]):
        people = (batch_index == image).nonzero()[:, 0]
        maps = input[image].to(compute).expand(people.shape[0], -1, -1, -1)
        if is_plain:
            output[people] = align_maps(maps, matrices[people], output_size, convention)
            continue
        input_size = input.shape[-2], input.shape[-1]
        to_input = sampling_transforms(matrices[people], convention, input_size, output_size)
        is_finite = to_input.detach().isfinite().flatten(1).all(1)
        output[people[is_finite]] = sample_windows(maps[is_finite], to_input[is_finite], output_size, *modes)
    return output.to(input.dtype)


def align_maps(maps: Tensor, matrices: Tensor, output_size: tuple[int, int], convention: str) -> Tensor:
    """Samples the own map of every instance (N, C, H, W) by its matrix (N, 2, 3), as windows (N, C, h, w)."""
    return sample(maps, window_grid(matrices, (maps.shape[-2], maps.shape[-1]), output_size, convention))


def window_grid(
    matrices: Tensor, input_size: tuple[int, int], output_size: tuple[int, int], convention: str
) -> Tensor:
    """Returns the sampling grids (N, h, w, 2) of all windows, in the dtype of the matrices."""
    to_input = _sampling_matrices(inverse(matrices), convention, *input_size)
    return sampling_grid(*affine_coordinates(to_input, output_size), *input_size)


def _sampling_matrices(to_input: Tensor, convention: str, height: int, width: int) -> Tensor:
    """Returns the transforms (N, 2, 3) from output pixels to input coordinates, given the inverse
    matrices."""
    if convention == "integer":
        return to_input
    linear, shift = to_input[..., :2], to_input[..., 2]
    if convention == "half_pixel":
        shift = shift + linear.sum(-1) / 2 - 0.5
        return torch.cat((linear, shift[..., None]), -1)
    if convention != "pose2seg":
        raise ValueError(f"convention must be 'integer', 'half_pixel' or 'pose2seg', got {convention!r}")
    # D^-1 M^-1 D, see docs/conventions.md. If a side has one pixel, its only coordinate is 0.
    extent = to_input.new_tensor([width, height])
    shrink = (extent - 1) / extent
    factors = torch.where((shrink > 0) & (shrink[:, None] > 0), shrink[:, None] / shrink, 0.0)
    return torch.cat((linear * factors, (shift * shrink)[..., None]), -1)
