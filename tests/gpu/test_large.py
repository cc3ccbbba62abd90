"""Sizes at which a kernel needs 64-bit indices of pixels, or a third dimension of its grid."""

from typing import Any

import pytest
import torch
from backends import on_gpu_only, with_cuda_kernels

from pose2seg_ops import reference

_SIDE = 46_344  # the smallest multiple of 8 whose square exceeds 2^31
_CORNER = 24


def require_memory(gigabytes: int) -> None:
    free, _ = torch.cuda.mem_get_info()
    if free < gigabytes << 30:
        pytest.skip(f"needs {gigabytes} GB of a GPU, of which {free >> 30} are free")


@on_gpu_only
@pytest.mark.parametrize("threshold", [0.5, None])
def test_paste_masks_of_more_than_2_31_pixels(backend: Any, threshold: float | None) -> None:
    """The RoI lies in the last corner; all of its coordinates are exact in float32."""
    require_memory(16)
    start = _SIDE - _CORNER
    probabilities = torch.rand(1, 8, 10, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([0])
    there = torch.tensor([[[0.5, 0, -1.5 - start / 2], [0, 0.5, -2.25 - start / 2]]])
    here = torch.tensor([[[0.5, 0, -1.5], [0, 0.5, -2.25]]])
    size = (_SIDE, _SIDE)
    (found,) = backend.paste_masks(probabilities.cuda(), there.cuda(), index, [size], threshold=threshold)
    corner = (_CORNER, _CORNER)
    (expected,) = reference.paste_masks(probabilities, here, index, [corner], threshold=threshold)
    assert expected.any()
    assert torch.equal(found[:, start:, start:].cpu(), expected)
    assert torch.count_nonzero(found) == torch.count_nonzero(expected)


@on_gpu_only
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_letterbox_to_more_than_2_31_pixels(backend: Any, memory_format: torch.memory_format) -> None:
    """The image is enlarged by 64, so that all positions are exact in float32."""
    require_memory(32)
    scale, pixels = 64, 725
    image = torch.randint(0, 256, (pixels, pixels, 3), generator=torch.Generator().manual_seed(0)).byte()
    options: Any = {"mean": (0, 0, 0), "std": (1, 1, 1), "dtype": torch.bfloat16}
    side = scale * pixels
    assert side**2 > 2**31 - 1
    (found, matrices) = backend.letterbox([image.cuda()], side, memory_format=memory_format, **options)
    last = image[-8:, -8:]
    expected, _ = reference.letterbox([last], 8 * scale, **options)
    inner = 7 * scale  # the rows and columns that do not depend on pixels before the last eight
    torch.testing.assert_close(found[..., -inner:, -inner:].cpu(), expected[..., -inner:, -inner:])
    assert torch.equal(matrices[0, :, :2].cpu(), scale * torch.eye(2))


@with_cuda_kernels
def test_affine_align_of_more_groups_of_channels_than_grid_y_has(backend: Any) -> None:
    """A block samples 128 channels, and a grid has at most 65,535 blocks along y; z continues them."""
    channels = 65_535 * 128 + 3
    input = torch.arange(channels).remainder(199).to(torch.float16).to(backend.device)
    input = input.reshape(1, channels, 1, 1)
    matrices = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], device=backend.device)
    index = torch.zeros(1, dtype=torch.long, device=backend.device)
    assert torch.equal(backend.affine_align(input, matrices, index, (1, 1)), input)
