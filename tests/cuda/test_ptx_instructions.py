"""Tests of the instruction counts in docs/kernels.md, for the inputs of the benchmarks."""

import numpy as np
import ptx
import pytest
import test_ptx_gradient
import test_ptx_paste
import test_ptx_skeleton
import torch

import pose2seg_ops
from benchmarks.inputs import (
    IMAGE,
    ROI,
    WHOLE_IMAGE,
    ellipses,
    image_matrices,
    people,
    poses_in_rois,
    templates,
)
from benchmarks.instructions import documented
from pose2seg_ops import COCO_LIMBS


def assert_documented(report, units, **row):
    """Compares to a tenth, since another nvcc generates other instructions."""
    assert report.warp_instructions / units == pytest.approx(documented(**row), rel=0.1)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients(layout):
    arguments = *test_ptx_gradient.one_window(layout, 30, channels=128), "i"
    of, groups = "32 values of the output's gradient", arguments[0].numel() / 32
    module = ptx.compile_ptx("affine_align_backward_input")
    _, report = test_ptx_gradient.launch_backward_input(module, *arguments)
    assert_documented(report, groups, kernel="gather", case=layout, of=of)
    module = ptx.compile_ptx("affine_align_backward_matrices")
    _, report = test_ptx_gradient.launch_backward_matrices(module, *arguments)
    assert_documented(report, groups, kernel="sum_tiles", case=layout, of=of)


def test_draw_planes():
    module = ptx.compile_ptx("skeleton_maps")
    keypoints, output = poses_in_rois(1)[None].numpy(), np.empty((1, 55, *ROI), np.float32)
    report = test_ptx_skeleton.draw_planes(
        module, "draw_planesIffLi4E", 4, keypoints, output, COCO_LIMBS, "last"
    )
    assert_documented(report, output.size / 32, kernel="draw_planes", of="32 values")


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_letterbox(layout):
    image, size = torch.zeros(120, 160, 3, dtype=torch.uint8), (128, 128)
    _, matrices = pose2seg_ops.letterbox([image], size, (0, 0, 0), (1, 1, 1))
    kernels = test_ptx_paste.Kernels("letterbox")
    batch, _, report = test_ptx_paste.run_letterbox(kernels, image, matrices[0], size, layout)
    assert_documented(report, batch.numel() / 32, kernel="letterbox_images", case=layout)


def test_fit_poses():
    kernels = test_ptx_paste.Kernels("fit_pose_templates")
    *_, report = test_ptx_paste.run_fit(kernels, people(8), templates())
    assert_documented(report, 8, kernel="fit_poses")


def person(angle=0.08, **scale):
    return ellipses(1), image_matrices(1, angle, **scale), torch.tensor([0]), [IMAGE]


@pytest.mark.parametrize(("geometry", "case"), [({}, "turned by 5°"), (WHOLE_IMAGE, "as wide as the image")])
def test_paste(geometry, case):
    kernels, masks = test_ptx_paste.Kernels("paste_masks"), [np.zeros((1, *IMAGE), np.uint8)]
    report = test_ptx_paste.run_paste(kernels, person(**geometry), masks)
    assert_documented(report, masks[0].size / 32, kernel="paste", case=case)


@pytest.mark.parametrize(
    ("geometry", "case"),
    [({"angle": 0.0}, "upright"), ({"angle": 0.6}, "turned by 34°"), (WHOLE_IMAGE, "as wide as the image")],
)
def test_pasted_boundaries(geometry, case):
    kernels = test_ptx_paste.Kernels("paste_rle")
    buffers = test_ptx_paste.Buffers(kernels, [IMAGE[1]], per_column=8)
    groups = IMAGE[0] * IMAGE[1] / 32
    reports = test_ptx_paste.run_paste_rle(kernels, person(**geometry), buffers)
    for report, kernel in zip(reports, ("count_pasted_boundaries", "store_pasted_boundaries"), strict=True):
        assert_documented(report, groups, kernel=kernel, case=case)


def test_mask_boundaries():
    kernels = test_ptx_paste.Kernels("encode_rle")
    (masks,) = pose2seg_ops.paste_masks(*person())
    buffers = test_ptx_paste.Buffers(kernels, [IMAGE[1]], per_column=8)
    reports = test_ptx_paste.run_encode_rle(kernels, masks, buffers)
    for report, kernel in zip(reports, ("count_mask_boundaries", "store_mask_boundaries"), strict=True):
        assert_documented(report, masks.numel() / 32, kernel=kernel, case="an ellipse")
