"""Pure-torch `letterbox`: bilinear resize about the centre, zero border, BGR to RGB, normalised."""

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from .sampling import affine_coordinates, bilinear, inverse


def letterbox(
    images: Sequence[Tensor],
    size: int | tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> tuple[Tensor, Tensor]:
    """See `pose2seg_ops.letterbox`."""
    height, width = (size, size) if isinstance(size, (int, Integral)) else size
    batch, matrices = [], []
    for image in images:
        scale = min(height / image.shape[0], width / image.shape[1])
        shift = (width / 2 - scale * image.shape[1] / 2, height / 2 - scale * image.shape[0] / 2)
        matrix = torch.tensor([[scale, 0, shift[0]], [0, scale, shift[1]]], dtype=torch.float64)
        x, y = affine_coordinates(inverse(matrix[None]), (height, width))
        rgb = image.permute(2, 0, 1).flip(0).to(torch.float64)
        resized = bilinear(rgb[None], x.to(image.device), y.to(image.device))[0] / 255
        channels = [(resized[c] - mean[c]) / std[c] for c in range(3)]
        batch.append(torch.stack(channels).to(dtype))
        matrices.append(matrix.float().to(image.device))
    return torch.stack(batch).contiguous(memory_format=memory_format), torch.stack(matrices)
