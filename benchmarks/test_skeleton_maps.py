from collections.abc import Callable
from typing import Any

import torch

import pose2seg_ops
from benchmarks import original
from benchmarks.contest import FLOOR, OURS, REFERENCE, Contest
from benchmarks.inputs import ROI, matrices, people
from pose2seg_ops import reference
from pose2seg_ops._points import move_points

_BARS: dict[int, dict[str, float]] = {
    1: {"original": 20, REFERENCE: 8},
    32: {FLOOR: 1 / 2},
    128: {FLOOR: 1 / 1.2},
}


def _contest(instances):
    def inputs(device):
        keypoints = people(instances)
        moved = move_points(keypoints[..., :2], matrices(instances))
        return torch.cat((moved, keypoints[..., 2:]), -1).to(device), ROI

    def floor(keypoints, size):
        return torch.empty(len(keypoints), 55, *size, device=keypoints.device).fill_(1)

    def ours(keypoints, size):
        return pose2seg_ops.skeleton_maps(keypoints, size, signed_visibility=True)

    def vectorised(keypoints, size):
        return reference.skeleton_maps(keypoints, size, signed_visibility=True)

    contenders: dict[str, Callable[..., Any]] = {
        OURS: ours,
        REFERENCE: vectorised,
        FLOOR: floor,
        "original": original.skeleton_maps,
    }
    return Contest("skeleton_maps", f"N={instances}", inputs, contenders, _BARS.get(instances, {}), 1e-4)


CONTESTS = [_contest(instances) for instances in (1, 8, 32, 128)]


def test_skeleton_maps(race, contest, contender):
    race(contest, contender)
