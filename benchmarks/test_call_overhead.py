import torch

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case
from benchmarks.inputs import templates
from pose2seg_ops import reference

_LONGEST = 10e-6


def _arguments(op, device):
    """Returns arguments for which the op has nothing to compute, or one pixel if it requires something."""
    no_people = torch.empty(0, 17, 3, device=device)
    features = torch.empty(1, 1, 1, 1, device=device)
    matrices = torch.empty(0, 2, 3, device=device)
    batch_index = torch.empty(0, dtype=torch.long, device=device)
    paste = torch.empty(0, 1, 1, device=device), matrices, batch_index.cpu(), [(1, 1)]
    return {
        "affine_align": (features, matrices, batch_index, (1, 1)),
        "skeleton_maps": (no_people, (1, 1)),
        "align_with_skeleton": (features, no_people, matrices, batch_index, (1, 1)),
        "fit_pose_templates": (no_people, templates().to(device), (1, 1), (1, 1)),
        "paste_masks": paste,
        "paste_rle": paste,
        "encode_rle": (torch.empty(0, 1, 1, dtype=torch.bool, device=device),),
        "letterbox": ([torch.zeros(1, 1, 3, dtype=torch.uint8, device=device)], 1, [0.5] * 3, [0.2] * 3),
    }[op]


def _case(op):
    implementations = {OURS: getattr(pose2seg_ops, op), REFERENCE: getattr(reference, op)}
    return Case("call overhead", op, lambda device: _arguments(op, device), implementations, longest=_LONGEST)


CASES = [_case(op) for op in pose2seg_ops.__all__ if hasattr(reference, op)]  # those with kernels


def test_call_overhead(check_and_time, case, implementation):
    """Times a call from Python to the kernel, without a gradient."""
    check_and_time(case, implementation)
