"""Tests of the counts in docs/kernels.md, for the inputs of the benchmarks."""

import numpy as np
import ptx
import pytest
import test_ptx_gradient
import test_ptx_paste
import test_ptx_skeleton
import torch

import pose2seg_ops
from benchmarks.counts import Counts, documented
from benchmarks.inputs import (
    IMAGE,
    ROI,
    WHOLE_IMAGE,
    ellipses,
    features,
    image_matrices,
    matrices,
    people,
    poses_in_rois,
    templates,
)
from pose2seg_ops import COCO_LIMBS

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
WINDOW = matrices(8)[2:3].clone()  # turned by 0.21 radians, about the mean of all windows


def counts_of(report):
    requests = [access for access in report.accesses if access.space == "global"]
    stored = sum(access.sectors for access in requests if access.kind == "st")
    return Counts(
        report.warp_instructions,
        sum(access.sectors for access in requests),
        report.sectors_read_by_blocks + stored,
    )


def assert_documented(counts, units, **row):
    """Compares to a tenth, since another nvcc generates other instructions."""
    expected, actual = documented(**row), counts * (1 / units)
    for column in ("instructions", "l1_sectors", "l2_sectors"):
        assert getattr(actual, column) == pytest.approx(getattr(expected, column), rel=0.1, abs=0.06), column


@pytest.mark.parametrize("case", ["float32", "float16"])
@pytest.mark.parametrize("kernel", ["align_planes", "align_channels_last", "align_staged"])
def test_windows(kernel, case):
    layout = "contiguous" if kernel == "align_planes" else "channels_last"
    input = features(256, FORMATS[layout], getattr(torch, case))
    arguments = input, WINDOW, torch.tensor([0]), ROI
    extra = 55 if kernel == "align_staged" else 0
    output, report = ptx.affine_align(ptx.compile_ptx("affine_align"), *arguments, extra=extra)
    assert kernel in report.kernel
    values = output[:, :256].numel()
    assert_documented(counts_of(report), values / 32, kernel=kernel, case=case, of="32 values")


@pytest.mark.parametrize("layout", FORMATS)
def test_gradients(layout):
    input = features(256, FORMATS[layout], torch.float32)
    gradient = torch.ones(1, 256, *ROI).contiguous(memory_format=FORMATS[layout])
    inputs, outputs = (f"32 values of the {of}'s gradient" for of in ("input", "output"))

    def gather(image):
        arguments = gradient, WINDOW, torch.tensor([image]), input, "i"
        return counts_of(test_ptx_gradient.launch_backward_input(module, *arguments)[1])

    module = ptx.compile_ptx("affine_align_backward_input")
    without_window = gather(image=1)
    assert_documented(without_window, input.numel() / 32, kernel="gather", case=layout, of=inputs)
    of_window = gather(image=0) - without_window
    assert_documented(of_window, gradient.numel() / 32, kernel="gather", case=layout, of=outputs)

    module = ptx.compile_ptx("affine_align_backward_matrices")
    arguments = gradient, WINDOW, torch.tensor([0]), input, "i"
    _, report = test_ptx_gradient.launch_backward_matrices(module, *arguments)
    assert_documented(counts_of(report), gradient.numel() / 32, kernel="sum_tiles", case=layout, of=outputs)


def test_draw_planes():
    module = ptx.compile_ptx("skeleton_maps")
    keypoints, output = poses_in_rois(1)[None].numpy(), np.empty((1, 55, *ROI), np.float32)
    report = test_ptx_skeleton.draw_planes(
        module, "draw_planesIffLi4E", 4, keypoints, output, COCO_LIMBS, "last"
    )
    row = {"kernel": "draw_planes", "case": "float32", "of": "32 values"}
    assert_documented(counts_of(report), output.size / 32, **row)


@pytest.mark.parametrize(("case", "name", "dtype"), [("float32", "f", "f4"), ("float16", "6__half", "f2")])
def test_draw_channels_last(case, name, dtype):
    module, keypoints = ptx.compile_ptx("skeleton_maps"), poses_in_rois(1)[None].numpy()
    _, report = test_ptx_skeleton.draw_channels_last(
        module, f"draw_channels_lastIf{name}Lb0E", keypoints, ROI, COCO_LIMBS, 256, dtype
    )
    values = 55 * ROI[0] * ROI[1]
    row = {"kernel": "draw_channels_last", "case": case, "of": "32 values"}
    assert_documented(counts_of(report), values / 32, **row)


@pytest.mark.parametrize("layout", FORMATS)
def test_letterbox(layout):
    image, size = torch.zeros(120, 160, 3, dtype=torch.uint8), (128, 128)
    _, matrices = pose2seg_ops.letterbox([image], size, (0, 0, 0), (1, 1, 1))
    kernels = test_ptx_paste.Kernels("letterbox")
    batch, _, report = test_ptx_paste.run_letterbox(kernels, image, matrices[0], size, layout)
    row = {"kernel": "letterbox_images", "case": layout, "of": "32 values"}
    assert_documented(counts_of(report), batch.numel() / 32, **row)


def test_fit_poses():
    kernels = test_ptx_paste.Kernels("fit_pose_templates")
    *_, report = test_ptx_paste.run_fit(kernels, people(8), templates())
    assert_documented(counts_of(report), 8, kernel="fit_poses")


def person(angle=0.08, **scale):
    return ellipses(1), image_matrices(1, angle, **scale), torch.tensor([0]), [IMAGE]


@pytest.mark.parametrize(("geometry", "case"), [({}, "turned by 5°"), (WHOLE_IMAGE, "as wide as the image")])
def test_paste(geometry, case):
    kernels, masks = test_ptx_paste.Kernels("paste_masks"), [np.zeros((1, *IMAGE), np.uint8)]
    report = test_ptx_paste.run_paste(kernels, person(**geometry), masks)
    row = {"kernel": "paste", "case": case, "of": "32 pixels"}
    assert_documented(counts_of(report), masks[0].size / 32, **row)


@pytest.mark.parametrize(
    ("geometry", "case"),
    [({"angle": 0.0}, "upright"), ({"angle": 0.6}, "turned by 34°"), (WHOLE_IMAGE, "as wide as the image")],
)
def test_pasted_boundaries(geometry, case):
    kernels = test_ptx_paste.Kernels("paste_rle")
    buffers = test_ptx_paste.Buffers(kernels, [IMAGE[1]], per_column=8)
    pixels = IMAGE[0] * IMAGE[1]
    reports = test_ptx_paste.run_paste_rle(kernels, person(**geometry), buffers)
    for report, kernel in zip(reports, ("count_pasted_boundaries", "store_pasted_boundaries"), strict=True):
        assert_documented(counts_of(report), pixels / 32, kernel=kernel, case=case, of="32 pixels")


def test_mask_boundaries():
    kernels = test_ptx_paste.Kernels("encode_rle")
    (masks,) = pose2seg_ops.paste_masks(*person())
    buffers = test_ptx_paste.Buffers(kernels, [IMAGE[1]], per_column=8)
    reports = test_ptx_paste.run_encode_rle(kernels, masks, buffers)
    for report, kernel in zip(reports, ("count_mask_boundaries", "store_mask_boundaries"), strict=True):
        row = {"kernel": kernel, "case": "an ellipse", "of": "32 pixels"}
        assert_documented(counts_of(report), masks.numel() / 32, **row)
