from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import pose2seg_ops
from benchmarks import original
from benchmarks.case import FLOOR, OURS, REFERENCE, Case
from benchmarks.inputs import ROI, name_of, poses_in_rois
from pose2seg_ops import reference

_TARGETS: dict[int, dict[str, float]] = {
    1: {"original": 20, REFERENCE: 8},
    32: {FLOOR: 1 / 2},
    128: {FLOOR: 1 / 1.2},
}


def _case(instances, dtype):
    def inputs(device):
        return poses_in_rois(instances).to(device), ROI

    def floor(keypoints, size):
        return torch.empty(len(keypoints), 55, *size, dtype=dtype, device=keypoints.device).fill_(1)

    def drawn_by(op):
        return partial(op, signed_visibility=True, dtype=dtype)

    implementations: dict[str, Callable[..., Any]] = {
        OURS: drawn_by(pose2seg_ops.skeleton_maps),
        REFERENCE: drawn_by(reference.skeleton_maps),
        FLOOR: floor,
    }
    precise = dtype == torch.float32
    if precise:
        implementations["original"] = original.skeleton_maps
    return Case(
        "skeleton_maps",
        f"N={instances}, {name_of(dtype)}",
        inputs,
        implementations,
        _TARGETS.get(instances, {}) if precise else {},
        1e-4 if precise else 1e-2,
    )


CASES = [
    _case(instances, dtype) for dtype in (torch.float32, torch.bfloat16) for instances in (1, 8, 32, 128)
]


def test_skeleton_maps(check_and_time, case, implementation):
    check_and_time(case, implementation)
