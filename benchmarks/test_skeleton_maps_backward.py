import torch

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case, backward
from benchmarks.inputs import ROI, poses_in_rois
from pose2seg_ops import reference


def _case(instances):
    """Times only the backward pass; both graphs are built beforehand."""

    def inputs(device):
        keypoints = poses_in_rois(instances).to(device).requires_grad_()
        outputs = {
            OURS: pose2seg_ops.skeleton_maps(keypoints, ROI),
            REFERENCE: reference.skeleton_maps(keypoints, ROI),
        }
        return keypoints, outputs, torch.randn_like(outputs[OURS])

    implementations = {name: backward(name) for name in (OURS, REFERENCE)}
    return Case("skeleton_maps backward", f"N={instances}", inputs, implementations)


CASES = [_case(instances) for instances in (1, 8, 32, 128)]


def test_skeleton_maps_backward(check_and_time, case, implementation):
    check_and_time(case, implementation)
