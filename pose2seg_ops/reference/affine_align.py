"""Pure-torch `affine_align`: one grid_sample an image, whose features are expanded rather than copied."""

import torch
from torch import Tensor

from .sampling import affine_coordinates, inverse, sample, sampling_grid


def affine_align(
    input: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    *,
    convention: str = "integer",
) -> Tensor:
    """See `pose2seg_ops.affine_align`."""
    compute = torch.float64 if input.dtype == torch.float64 else torch.float32
    matrices = matrices.to(compute)
    # Sizes come from shapes: `len` would fix the number of instances in an exported graph.
    output = input.new_zeros(matrices.shape[0], input.shape[1], *output_size, dtype=compute)
    for image in range(input.shape[0]):
        people = (batch_index == image).nonzero()[:, 0]
        maps = input[image].to(compute).expand(people.shape[0], -1, -1, -1)
        output[people] = align_maps(maps, matrices[people], output_size, convention)
    return output.to(input.dtype)


def align_maps(maps: Tensor, matrices: Tensor, output_size: tuple[int, int], convention: str) -> Tensor:
    """Every instance's own map (N, C, H, W) moved by its matrix (N, 2, 3) into a window (N, C, h, w)."""
    return sample(maps, window_grid(matrices, (maps.shape[-2], maps.shape[-1]), output_size, convention))


def window_grid(
    matrices: Tensor, input_size: tuple[int, int], output_size: tuple[int, int], convention: str
) -> Tensor:
    """The grid (N, h, w, 2) of every instance's window, of the dtype of the matrices."""
    to_input = _sampling_matrices(inverse(matrices), convention, *input_size)
    return sampling_grid(*affine_coordinates(to_input, output_size), *input_size)


def _sampling_matrices(to_input: Tensor, convention: str, height: int, width: int) -> Tensor:
    """Output pixel -> input coordinates, (N, 2, 3), from the inverse matrices; see docs/conventions.md."""
    if convention == "integer":
        return to_input
    linear, shift = to_input[..., :2], to_input[..., 2]
    if convention == "half_pixel":
        shift = shift + linear.sum(-1) / 2 - 0.5
        return torch.cat((linear, shift[..., None]), -1)
    if convention != "pose2seg":
        raise ValueError(f"convention must be 'integer', 'half_pixel' or 'pose2seg', got {convention!r}")
    # D^-1 M^-1 D. A side of one pixel has only the coordinate 0.
    extent = to_input.new_tensor([width, height])
    shrink = (extent - 1) / extent
    linear = torch.where((shrink > 0) & (shrink[:, None] > 0), linear * shrink[:, None] / shrink, 0.0)
    return torch.cat((linear, (shift * shrink)[..., None]), -1)
