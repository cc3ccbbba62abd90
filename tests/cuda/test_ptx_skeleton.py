"""Tests of the PTX of the skeleton kernels: results, races, bounds, and memory traffic."""

import numpy as np
import ptx
import ptxrun
import pytest
import torch
from test_ptx import window

from pose2seg_ops import COCO_LIMBS, reference

LIMBS = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0))

DRAWING = np.dtype(
    [
        ("keypoints", "u8"),
        ("matrices", "u8"),
        ("maps", "i8"),
        ("people", "i8"),
        ("stride", "i8"),
        ("sigma", "f8"),
        ("limb_width", "f8"),
        ("inverse_two_sigma2", "f8"),
        ("joints", "i4"),
        ("height", "i4"),
        ("width", "i4"),
        ("limb_count", "i4"),
        ("limbs", "i2", (256, 2)),
        ("limb_overlap", "i4"),
        ("signed_visibility", "?"),
        ("keypoints_dtype", "i4"),
    ],
    align=True,
)
FORWARD = np.dtype(
    [("drawing", DRAWING), ("output", "u8"), ("output_strides", "i8", 4), ("output_dtype", "i4")], align=True
)
BACKWARD = np.dtype(
    [
        ("drawing", DRAWING),
        ("grad", "u8"),
        ("grad_keypoints", "u8"),
        ("grad_strides", "i8", 4),
        ("grad_dtype", "i4"),
    ],
    align=True,
)


@pytest.fixture(scope="module")
def forward_ptx():
    return ptx.compile_ptx("skeleton_maps")


@pytest.fixture(scope="module")
def backward_ptx():
    return ptx.compile_ptx("skeleton_maps_backward")


def random_people(maps, people, joints, size, dtype):
    random = np.random.default_rng(0)
    position = random.uniform(-0.2, 1.2, (maps, people, joints, 2)) * size[::-1]
    visibility = random.choice([0, 1, 2], (maps, people, joints, 1), p=[0.2, 0.3, 0.5])
    return np.concatenate((position, visibility), -1).astype(dtype)


def drawing(device, keypoints, size, limbs, overlap):
    maps, people, joints, _ = keypoints.shape
    d = np.zeros((), DRAWING)
    d["keypoints"] = device.bind(keypoints, "keypoints")
    d["maps"], d["people"], d["joints"], d["stride"] = maps, people, joints, 1
    d["sigma"], d["limb_width"], d["inverse_two_sigma2"], d["signed_visibility"] = 3, 1, 1 / 18, True
    d["height"], d["width"] = size
    d["limb_count"], d["limbs"][: len(limbs)] = len(limbs), limbs
    d["limb_overlap"] = ("last", "mean").index(overlap)
    d["keypoints_dtype"] = int(keypoints.dtype == np.float64)
    return d


def element_strides(array):
    return [stride // array.itemsize for stride in array.strides]


def expected_maps(keypoints, size, limbs, overlap):
    tensor = torch.from_numpy(keypoints)
    return reference.skeleton_maps(tensor, size, limbs=limbs, signed_visibility=True, limb_overlap=overlap)


@pytest.mark.parametrize(
    ("kernel", "cells", "size", "people", "dtypes"),
    [
        ("draw_planesIffLi4E", 4, (12, 16), 3, ("f4", "f4")),
        ("draw_planesIffLi1E", 1, (7, 9), 3, ("f4", "f4")),
        ("draw_planesIffLi1E", 1, (17, 19), 70, ("f4", "f4")),
        ("draw_planesIddLi2E", 2, (40, 6), 2, ("f8", "f8")),
        ("draw_planesIf6__halfLi8E", 8, (9, 32), 2, ("f4", "f2")),
    ],
)
@pytest.mark.parametrize("overlap", ["last", "mean"])
def test_planes(forward_ptx, kernel, cells, size, people, dtypes, overlap):
    keypoints = random_people(2, people, 5, size, dtypes[0])
    output = np.full((2, 15, *size), np.nan, dtypes[1])
    draw_planes(forward_ptx, kernel, cells, keypoints, output, LIMBS, overlap)
    expected = expected_maps(keypoints, size, LIMBS, overlap)
    tolerance = 5e-4 if dtypes[1] == "f2" else 1e-6
    np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=tolerance)


def draw_planes(module, kernel, cells, keypoints, output, limbs, overlap):
    device = ptxrun.Device()
    parameters = np.zeros((), FORWARD)
    parameters["drawing"] = drawing(device, keypoints, output.shape[2:], limbs, overlap)
    parameters["output"] = device.bind(output, "output")
    parameters["output_strides"] = element_strides(output)
    blocks_per_map = -(-output[0, 0].size // (128 * cells))
    grid = (len(keypoints) * blocks_per_map, -(-output.shape[1] // 20))
    return ptx.run(module, kernel, grid, 128, [parameters, blocks_per_map, 20], device)


def test_planes_are_written_by_whole_sectors(forward_ptx):
    keypoints = random_people(1, 1, 17, (64, 64), "f4")
    output = np.full((1, 55, 64, 64), np.nan, "f4")
    result = draw_planes(forward_ptx, "draw_planesIffLi4E", 4, keypoints, output, COCO_LIMBS, "last")
    expected = expected_maps(keypoints, (64, 64), COCO_LIMBS, "last")
    np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=1e-6)
    assert ptx.efficiency(ptx.accesses(result, "st")) == 1


@pytest.mark.parametrize(
    ("kernel", "dtype", "size", "joints", "features"),
    [
        ("draw_channels_lastIffLb0E", "f4", (64, 64), 17, 256),
        ("draw_channels_lastIffLb0E", "f4", (7, 9), 17, 3),
        ("draw_channels_lastIffLb0E", "f4", (5, 13), 67, 2),
        ("draw_channels_lastIf6__halfLb0E", "f2", (8, 9), 17, 5),
    ],
)
def test_channels_last(forward_ptx, kernel, dtype, size, joints, features):
    limbs = COCO_LIMBS if joints == 17 else tuple((k, (k + 7) % joints) for k in range(joints))
    keypoints = random_people(1, 1, joints, size, "f4")
    output, _ = draw_channels_last(forward_ptx, kernel, keypoints, size, limbs, features, dtype)
    drawn = output[..., features:].transpose(0, 3, 1, 2)
    expected = expected_maps(keypoints, size, limbs, "last")
    np.testing.assert_allclose(drawn, expected.numpy(), rtol=0, atol=5e-4 if dtype == "f2" else 1e-6)
    assert np.isnan(output[..., :features]).all()


def draw_channels_last(module, kernel, keypoints, size, limbs, features, dtype):
    """Draws into the last channels of an output that starts with `features` other channels."""
    channels = keypoints.shape[2] + 2 * len(limbs)
    output = np.full((1, *size, features + channels), np.nan, dtype)
    device = ptxrun.Device()
    parameters = np.zeros((), FORWARD)
    parameters["drawing"] = drawing(device, keypoints, size, limbs, "last")
    parameters["output"] = device.bind(output, "output") + features * output.itemsize
    parameters["output_strides"] = element_strides(output.transpose(0, 3, 1, 2))
    blocks_per_map = -(-size[0] * -(-size[1] // 8) // 32)  # of four warps that take four turns
    grid = (blocks_per_map, -(-channels // 64))
    return output, ptx.run(module, kernel, grid, 128, [parameters, blocks_per_map], device)


@pytest.fixture(scope="module")
def affine_align_ptx():
    return ptx.compile_ptx("affine_align")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_align_with_skeleton_is_written_by_whole_sectors(forward_ptx, affine_align_ptx, dtype):
    """Tests the two kernels that write a channels_last output, with 256 feature channels and 55 maps."""
    size, features, maps = (32, 32), 256, 55
    kernel, numpy_dtype = ("draw_channels_lastIffLb0E", "f4")
    if dtype == torch.float16:
        kernel, numpy_dtype = ("draw_channels_lastIf6__halfLb0E", "f2")
    keypoints = random_people(1, 1, 17, size, "f4")
    output, drawn = draw_channels_last(
        forward_ptx, kernel, keypoints, size, COCO_LIMBS, features, numpy_dtype
    )
    maps_stores = [access for access in drawn.accesses if (access.kind, access.space) == ("st", "global")]

    # This is the minimum: every sector that holds maps of a pixel is written by one request.
    first = np.arange(size[0] * size[1]) * output.shape[-1] * output.itemsize + features * output.itemsize
    last = first + maps * output.itemsize - 1
    fewest = (last // 32 - first // 32 + 1).sum()
    assert sum(access.sectors for access in maps_stores) == fewest

    input = torch.rand(1, features, 48, 48).to(dtype).contiguous(memory_format=torch.channels_last)
    matrices = window(30, 0.7, (23.8, 23.7), size)[None]
    _, sampled = ptx.affine_align(affine_align_ptx, input, matrices, torch.tensor([0]), size, extra=maps)
    taps = [access for access in ptx.accesses(sampled, "ld") if access.bytes == 16]
    assert ptx.efficiency(taps) >= 0.95
    assert ptx.efficiency(maps_stores + ptx.accesses(sampled, "st")) >= 0.9


@pytest.mark.parametrize(
    ("kernel", "size", "people", "dtypes"),
    [
        ("sum_gradientIffE", (12, 16), 3, ("f4", "f4")),
        ("sum_gradientIddE", (7, 9), 20, ("f8", "f8")),
        ("sum_gradientIf6__halfE", (19, 5), 2, ("f4", "f2")),
    ],
)
@pytest.mark.parametrize("overlap", ["last", "mean"])
def test_gradient(backward_ptx, kernel, size, people, dtypes, overlap):
    keypoints = random_people(2, people, 5, size, dtypes[0])
    grad_output = np.random.default_rng(1).standard_normal((2, 15, *size)).astype(dtypes[1])
    grad_keypoints = np.full_like(keypoints, np.nan)
    device = ptxrun.Device()
    parameters = np.zeros((), BACKWARD)
    parameters["drawing"] = drawing(device, keypoints, size, LIMBS, overlap)
    parameters["grad"] = device.bind(grad_output, "grad_output")
    parameters["grad_keypoints"] = device.bind(grad_keypoints, "grad_keypoints")
    parameters["grad_strides"] = element_strides(grad_output)
    ptx.run(backward_ptx, kernel, 2 * people * 5, 128, [parameters], device)

    leaf = torch.from_numpy(keypoints).requires_grad_()
    maps = reference.skeleton_maps(leaf, size, limbs=LIMBS, signed_visibility=True, limb_overlap=overlap)
    (expected,) = torch.autograd.grad(maps, leaf, torch.from_numpy(grad_output).to(maps))
    np.testing.assert_allclose(grad_keypoints, expected.numpy(), rtol=1e-4, atol=1e-4)
