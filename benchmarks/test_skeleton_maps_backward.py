import torch

import pose2seg_ops
from benchmarks.contest import OURS, REFERENCE, Contest, backward
from benchmarks.inputs import ROI, poses_in_rois
from pose2seg_ops import reference


def _contest(instances):
    """Only the backward pass is timed: both graphs are made beforehand."""

    def inputs(device):
        keypoints = poses_in_rois(instances).to(device).requires_grad_()
        outputs = {
            OURS: pose2seg_ops.skeleton_maps(keypoints, ROI),
            REFERENCE: reference.skeleton_maps(keypoints, ROI),
        }
        return keypoints, outputs, torch.randn_like(outputs[OURS])

    contenders = {name: backward(name) for name in (OURS, REFERENCE)}
    return Contest("skeleton_maps backward", f"N={instances}", inputs, contenders)


CONTESTS = [_contest(instances) for instances in (1, 8, 32, 128)]


def test_skeleton_maps_backward(race, contest, contender):
    race(contest, contender)
