"""Tests that one instance gives every multiprocessor of a large GPU some work, where the results allow it."""

import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import pose2seg_ops
from pose2seg_ops import _operator, reference

MULTIPROCESSORS = 132  # of an H200
SIZE = (64, 64)


def inputs(layout: str, channels: int = 256, instances: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Features, matrices and the index of the image; the windows are turned and reduced."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(1, channels, 96, 96, generator=generator)
    if layout == "channels_last":
        features = features.contiguous(memory_format=torch.channels_last)
    matrix = torch.tensor([[0.7, -0.2, 3.0], [0.2, 0.7, 1.0]])
    return features, matrix.expand(instances, 2, 3), torch.zeros(instances, dtype=torch.int64)


def keypoints(instances: int = 1) -> Tensor:
    joints = torch.rand(instances, 17, 3, generator=torch.Generator().manual_seed(0)) * 90
    joints[..., 2] = 2
    return joints


def windows(layout: str, channels: int = 256) -> Callable[[Any], Tensor]:
    return lambda ops: ops.affine_align(*inputs(layout, channels), SIZE)


def windows_with_skeleton(layout: str) -> Callable[[Any], Tensor]:
    def align(ops: Any) -> Tensor:
        features, matrices, index = inputs(layout)
        return ops.align_with_skeleton(features, keypoints(), matrices, index, SIZE)

    return align


def gradient(layout: str) -> Callable[[Any], Tensor]:
    def differentiate(ops: Any) -> Tensor:
        features, matrices, index = inputs(layout)
        features.requires_grad_()
        result = ops.affine_align(features, matrices, index, SIZE)
        return torch.autograd.grad(result, features, torch.ones_like(result))[0]

    return differentiate


def masks(ops: Any) -> Tensor:
    _, matrices, index = inputs("contiguous")
    probabilities = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    return ops.paste_masks(probabilities, matrices, index, [(480, 640)])[0]


CASES = {
    **{f"affine_align, {layout}": windows(layout) for layout in ("contiguous", "channels_last")},
    "affine_align, 64 channels, contiguous": windows("contiguous", 64),
    "affine_align, 64 channels, channels_last": windows("channels_last", 64),
    **{
        f"align_with_skeleton, {layout}": windows_with_skeleton(layout)
        for layout in ("contiguous", "channels_last")
    },
    **{f"gradient, {layout}": gradient(layout) for layout in ("contiguous", "channels_last")},
    "skeleton_maps": lambda ops: ops.skeleton_maps(keypoints(), SIZE),
    "paste_masks": masks,
}


@pytest.fixture
def largest_grid(emulated_extension: ModuleType) -> ctypes.c_size_t:
    library = ctypes.CDLL(emulated_extension.__file__)
    grid = ctypes.c_size_t.in_dll(library, "cuda_emulation_largest_grid")
    grid.value = 0
    return grid


@pytest.mark.parametrize("case", CASES)
def test_one_instance_fills_a_gpu(
    case: str, emulated_extension: ModuleType, largest_grid: ctypes.c_size_t
) -> None:
    with _operator.using_extension(emulated_extension.__name__, emulated_extension):
        result = CASES[case](pose2seg_ops)
    assert largest_grid.value >= MULTIPROCESSORS
    torch.testing.assert_close(result, CASES[case](reference), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_one_instance_has_the_bits_of_many(
    layout: str, emulated_extension: ModuleType, largest_grid: ctypes.c_size_t
) -> None:
    """One instance is divided among more blocks."""
    count, size = 160, (16, 16)
    features, matrices, index = inputs(layout, 12, count)
    joints = keypoints(count) / 6
    with _operator.using_extension(emulated_extension.__name__, emulated_extension):

        def align(some: slice) -> list[Tensor]:
            windows = pose2seg_ops.affine_align(features, matrices[some], index[some], size)
            both = pose2seg_ops.align_with_skeleton(features, joints[some], matrices[some], index[some], size)
            return [windows, both, pose2seg_ops.skeleton_maps(joints[some], size)]

        many = align(slice(None))
        assert largest_grid.value > 256
        for one, of_many in zip(align(slice(3, 4)), many, strict=True):
            assert torch.equal(one[0], of_many[3])
