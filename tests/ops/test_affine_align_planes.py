"""Planes that are copied in slices of channels are sampled like those that are not, on the CPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pose2seg_ops import affine_align

WINDOWS = 40


def windows() -> tuple[Tensor, Tensor]:
    """Returns matrices of every kind, and images in any order with some that do not exist."""
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(WINDOWS, 2, 3, generator=generator) * torch.tensor([0.6, 0.6, 9.0])
    matrices[:, [0, 1], [0, 1]] += 0.8
    matrices[0] = 0
    matrices[1, 0, 0] = torch.nan
    matrices[2] *= 1e-3  # the samples are far apart
    matrices[3] *= 40
    batch_index = torch.randint(0, 3, (WINDOWS,), generator=generator)
    batch_index[4:6] = torch.tensor([-1, 3])
    return matrices, batch_index


def images(dtype: torch.dtype, channels: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, channels, *size, generator=generator).to(dtype)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "part": lambda x: torch.cat((x, x), 3).repeat(1, 2, 1, 1)[:, : x.shape[1], :, : x.shape[3]],
    "every other": lambda x: x.repeat_interleave(2, 3)[..., ::2],
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [3, 8, 16, 21, 40])
@pytest.mark.parametrize(("size", "out"), [((37, 21), (33, 19)), ((16, 48), (5, 64)), ((1, 40), (24, 24))])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_planes_are_sampled_like_adjacent_channels(
    dtype: torch.dtype, channels: int, size: tuple[int, int], out: tuple[int, int], layout: str
) -> None:
    matrices, batch_index = windows()
    matrices = matrices.double() if dtype == torch.float64 else matrices
    x = LAYOUTS[layout](images(dtype, channels, size))
    expected = affine_align(x.contiguous(memory_format=torch.channels_last), matrices, batch_index, out)
    found = affine_align(x, matrices, batch_index, out)
    assert torch.equal(found, expected)
    assert expected.count_nonzero() > expected.numel() / 100


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [3, 8, 21])
def test_gradients_of_planes_are_those_of_adjacent_channels(dtype: torch.dtype, channels: int) -> None:
    matrices, batch_index = windows()
    matrices = matrices[4:].to(torch.float64 if dtype == torch.float64 else torch.float32)
    grad = images(dtype, channels * 12, (33, 19)).reshape(-1, channels, 33, 19)

    def gradients(memory_format: torch.memory_format) -> list[Tensor]:
        x = images(dtype, channels, (37, 21)).contiguous(memory_format=memory_format).requires_grad_()
        to_output = matrices.clone().requires_grad_()
        output = affine_align(x, to_output, batch_index[4:], (33, 19))
        return list(torch.autograd.grad(output, (x, to_output), grad.contiguous(memory_format=memory_format)))

    in_planes, expected = gradients(torch.contiguous_format), gradients(torch.channels_last)
    assert torch.equal(in_planes[0], expected[0])
    scale = expected[1].abs().amax((1, 2), keepdim=True) + 1
    error = ((in_planes[1] - expected[1]) / scale).abs().max()
    assert error < (1e-12 if dtype == torch.float64 else 1e-4)


def test_maps_too_large_to_be_copied_are_sampled_in_place() -> None:
    x = images(torch.bfloat16, 8, (700, 900))
    matrices, batch_index = windows()
    expected = affine_align(x.contiguous(memory_format=torch.channels_last), matrices, batch_index, (9, 40))
    assert torch.equal(affine_align(x, matrices, batch_index, (9, 40)), expected)
