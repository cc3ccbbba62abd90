from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case
from benchmarks.inputs import ROI, features, matrices, name_of
from benchmarks.peers import find
from pose2seg_ops import reference

_KORNIA = find("kornia.geometry.transform", "warp_affine")
_TORCHVISION = find("torchvision.ops", "roi_align")
_OP = "affine_align beside other libraries"


def _with_batch_index(align):
    def run(features, matrices, *_):
        batch_index = torch.zeros(len(matrices), dtype=torch.long, device=features.device)
        return align(features, matrices, batch_index, ROI)

    return run


_BOTH: dict[str, Callable[..., Any]] = {
    OURS: _with_batch_index(pose2seg_ops.affine_align),
    REFERENCE: _with_batch_index(reference.affine_align),
}


def _opencv(features, matrices, groups):
    """Warps four channels at a time with cv2.warpAffine; `groups` holds them in its layout, (C / 4, H, W,
    4)."""
    result = np.empty((len(matrices), len(groups), *ROI, 4), np.float32)
    for windows, matrix in zip(result, matrices.cpu().numpy(), strict=True):
        for window, group in zip(windows, groups.numpy(), strict=True):
            cv2.warpAffine(group, matrix, ROI[::-1], dst=window, flags=cv2.INTER_LINEAR)
    return torch.from_numpy(result).permute(0, 1, 4, 2, 3)


def _agree(result, expected):
    actual = result.reshape(expected.shape).to(expected.device)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)


def _turned(instances, memory_format):
    def inputs(device):
        values = features(256, memory_format, torch.float32)
        groups = values[0].unflatten(0, (-1, 4)).permute(0, 2, 3, 1).contiguous()
        return values.to(device), matrices(instances).to(device), groups

    def with_kornia(features, matrices, _):
        one_each = features.expand(len(matrices), -1, -1, -1)
        return _KORNIA["kornia"](one_each, matrices, ROI, align_corners=True)

    implementations = _BOTH | {"OpenCV": _opencv} | dict.fromkeys(_KORNIA, with_kornia)
    return Case(_OP, f"N={instances}, {name_of(memory_format)}", inputs, implementations, agree=_agree)


def _boxes(instances):
    """Compares on axis-aligned boxes inside the features with one sample per pixel, as RoIAlign supports
    them."""

    def inputs(device):
        side = torch.linspace(40, 90, instances)
        left, top = torch.linspace(2, 35, instances), torch.linspace(35, 2, instances)
        boxes = torch.stack((torch.zeros(instances), left, top, left + side, top + side), 1)
        step = side / ROI[0]
        zero, scale = torch.zeros(instances), 1 / step
        rows = [scale, zero, -(left - 0.5 + step / 2) * scale, zero, scale, -(top - 0.5 + step / 2) * scale]
        to_roi = torch.stack(rows, 1).reshape(-1, 2, 3)
        values = features(256, torch.contiguous_format, torch.float32)
        return values.to(device), to_roi.to(device), boxes.to(device)

    def with_torchvision(features, _, boxes):
        return _TORCHVISION["torchvision"](features, boxes, ROI, sampling_ratio=1, aligned=True)

    implementations = _BOTH | dict.fromkeys(_TORCHVISION, with_torchvision)
    return Case(_OP, f"N={instances}, boxes, contiguous", inputs, implementations)


CASES = [
    *(_turned(n, layout) for layout in (torch.channels_last, torch.contiguous_format) for n in (1, 8, 32)),
    *(_boxes(n) for n in (1, 8, 32)),
]


def test_affine_align_peers(check_and_time, case, implementation):
    """C = 256, 128 x 128 -> 64 x 64."""
    check_and_time(case, implementation)
