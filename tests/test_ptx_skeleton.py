"""The skeleton kernels as nvcc compiles them, run by an interpreter of PTX that finds races and counts sectors."""

import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pose2seg_ops import COCO_LIMBS, reference

ROOT = Path(__file__).resolve().parents[1]
INTERPRETER = ROOT.parent / "shared" / "tools" / "ptxrun"
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
        ("grad_output", "u8"),
        ("grad_keypoints", "u8"),
        ("grad_output_strides", "i8", 4),
        ("grad_output_dtype", "i4"),
    ],
    align=True,
)


@pytest.fixture(scope="module")
def ptxrun():
    if not (INTERPRETER / "ptxrun.py").exists():
        pytest.skip(f"no PTX interpreter in {INTERPRETER}")
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc")
    sys.path.insert(0, str(INTERPRETER))
    yield importlib.import_module("ptxrun")
    sys.path.remove(str(INTERPRETER))


@pytest.fixture(scope="module")
def forward_ptx(ptxrun):
    return compile_kernel(ptxrun, "skeleton_maps")


@pytest.fixture(scope="module")
def backward_ptx(ptxrun):
    return compile_kernel(ptxrun, "skeleton_maps_backward")


def compile_kernel(ptxrun, name):
    options = ["-std=c++17", "-O3", f"-I{ROOT / 'csrc'}"]
    return ptxrun.Module(ptxrun.nvcc_ptx(str(ROOT / "csrc" / "cuda" / f"{name}.cu"), "compute_80", options))


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
    d["sigma"], d["limb_width"], d["signed_visibility"] = 3, 1, True
    d["height"], d["width"] = size
    d["limb_count"], d["limbs"][: len(limbs)] = len(limbs), limbs
    d["limb_overlap"] = ("last", "mean").index(overlap)
    d["keypoints_dtype"] = int(keypoints.dtype == np.float64)
    return d


def element_strides(array):
    return [stride // array.itemsize for stride in array.strides]


def run(ptxrun, module, kernel, grid, block, arguments, device):
    result = ptxrun.run(
        module, kernel, grid, block, arguments, device=device, stats=True, race=True, sample=1
    )
    assert not result.races, result.report()
    assert not result.warnings, result.report()
    conflicts = [access["conflict"] for access in result.stats["mem"] if access["space"] == "shared"]
    assert max(conflicts) <= 2, result.report()
    return result


def store_efficiency(result):
    """Bytes stored by bytes of the sectors they lie in."""
    stores = [a for a in result.stats["mem"] if a["space"] == "global" and a["kind"] == "st"]
    assert stores
    return sum(a["lanes"] * a["bytes"] for a in stores) / sum(32 * a["sectors"] for a in stores)


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
def test_planes(ptxrun, forward_ptx, kernel, cells, size, people, dtypes, overlap):
    keypoints = random_people(2, people, 5, size, dtypes[0])
    output = np.full((2, 15, *size), np.nan, dtypes[1])
    draw_planes(ptxrun, forward_ptx, kernel, cells, keypoints, output, LIMBS, overlap)
    expected = expected_maps(keypoints, size, LIMBS, overlap)
    tolerance = 5e-4 if dtypes[1] == "f2" else 1e-6
    np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=tolerance)


def draw_planes(ptxrun, module, kernel, cells, keypoints, output, limbs, overlap):
    device = ptxrun.Device()
    parameters = np.zeros((), FORWARD)
    parameters["drawing"] = drawing(device, keypoints, output.shape[2:], limbs, overlap)
    parameters["output"] = device.bind(output, "output")
    parameters["output_strides"] = element_strides(output)
    blocks_per_map = -(-output[0, 0].size // (256 * cells))
    grid = (len(keypoints) * blocks_per_map, -(-output.shape[1] // 20))
    return run(ptxrun, module, kernel, grid, 256, [parameters, blocks_per_map], device)


def test_planes_are_written_by_whole_sectors(ptxrun, forward_ptx):
    keypoints = random_people(1, 1, 17, (64, 64), "f4")
    output = np.full((1, 55, 64, 64), np.nan, "f4")
    result = draw_planes(ptxrun, forward_ptx, "draw_planesIffLi4E", 4, keypoints, output, COCO_LIMBS, "last")
    expected = expected_maps(keypoints, (64, 64), COCO_LIMBS, "last")
    np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=1e-6)
    assert store_efficiency(result) == 1


@pytest.mark.parametrize(
    ("kernel", "dtype", "size", "joints", "features"),
    [
        ("draw_channels_lastIffE", "f4", (64, 64), 17, 256),
        ("draw_channels_lastIffE", "f4", (7, 9), 17, 3),
        ("draw_channels_lastIffE", "f4", (5, 13), 67, 2),
        ("draw_channels_lastIf6__halfE", "f2", (8, 9), 17, 5),
    ],
)
def test_channels_last(ptxrun, forward_ptx, kernel, dtype, size, joints, features):
    limbs = COCO_LIMBS if joints == 17 else tuple((k, (k + 7) % joints) for k in range(joints))
    channels = joints + 2 * len(limbs)
    keypoints = random_people(1, 1, joints, size, "f4")
    output = np.full((1, *size, features + channels), np.nan, dtype)
    device = ptxrun.Device()
    parameters = np.zeros((), FORWARD)
    parameters["drawing"] = drawing(device, keypoints, size, limbs, "last")
    parameters["output"] = device.bind(output, "output") + features * output.itemsize
    parameters["output_strides"] = element_strides(output.transpose(0, 3, 1, 2))
    blocks_per_map = -(-size[0] * size[1] // 64)
    grid = (blocks_per_map, -(-(channels + 1) // 64))
    result = run(ptxrun, forward_ptx, kernel, grid, 64, [parameters, blocks_per_map], device)

    drawn = output[..., features:].transpose(0, 3, 1, 2)
    expected = expected_maps(keypoints, size, limbs, "last")
    np.testing.assert_allclose(drawn, expected.numpy(), rtol=0, atol=5e-4 if dtype == "f2" else 1e-6)
    assert np.isnan(output[..., :features]).all()
    if size == (64, 64):
        # 220 bytes of each cell's 1244 lie in 7.75 sectors on the average.
        assert store_efficiency(result) >= 0.88


@pytest.mark.parametrize(
    ("kernel", "size", "people", "dtypes"),
    [
        ("sum_gradientIffE", (12, 16), 3, ("f4", "f4")),
        ("sum_gradientIddE", (7, 9), 20, ("f8", "f8")),
        ("sum_gradientIf6__halfE", (19, 5), 2, ("f4", "f2")),
    ],
)
@pytest.mark.parametrize("overlap", ["last", "mean"])
def test_gradient(ptxrun, backward_ptx, kernel, size, people, dtypes, overlap):
    keypoints = random_people(2, people, 5, size, dtypes[0])
    grad_output = np.random.default_rng(1).standard_normal((2, 15, *size)).astype(dtypes[1])
    grad_keypoints = np.full_like(keypoints, np.nan)
    device = ptxrun.Device()
    parameters = np.zeros((), BACKWARD)
    parameters["drawing"] = drawing(device, keypoints, size, LIMBS, overlap)
    parameters["grad_output"] = device.bind(grad_output, "grad_output")
    parameters["grad_keypoints"] = device.bind(grad_keypoints, "grad_keypoints")
    parameters["grad_output_strides"] = element_strides(grad_output)
    run(ptxrun, backward_ptx, kernel, 2 * people * 5, 128, [parameters], device)

    leaf = torch.from_numpy(keypoints).requires_grad_()
    maps = reference.skeleton_maps(leaf, size, limbs=LIMBS, signed_visibility=True, limb_overlap=overlap)
    (expected,) = torch.autograd.grad(maps, leaf, torch.from_numpy(grad_output).to(maps))
    np.testing.assert_allclose(grad_keypoints, expected.numpy(), rtol=1e-4, atol=1e-4)
