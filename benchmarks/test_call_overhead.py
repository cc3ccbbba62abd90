import torch

import pose2seg_ops
from benchmarks.contest import OURS, REFERENCE, Contest
from benchmarks.inputs import templates
from pose2seg_ops import reference

_LONGEST = 10e-6


def _arguments(op, device):
    """With which the op has nothing to compute, or one pixel where it asks for something."""
    nobody = torch.empty(0, 17, 3, device=device)
    features = torch.empty(1, 1, 1, 1, device=device)
    matrices = torch.empty(0, 2, 3, device=device)
    batch_index = torch.empty(0, dtype=torch.long, device=device)
    paste = torch.empty(0, 1, 1, device=device), matrices, batch_index.cpu(), [(1, 1)]
    return {
        "affine_align": (features, matrices, batch_index, (1, 1)),
        "skeleton_maps": (nobody, (1, 1)),
        "align_with_skeleton": (features, nobody, matrices, batch_index, (1, 1)),
        "fit_pose_templates": (nobody, templates().to(device), (1, 1), (1, 1)),
        "paste_masks": paste,
        "paste_rle": paste,
        "encode_rle": (torch.empty(0, 1, 1, dtype=torch.bool, device=device),),
        "letterbox": ([torch.zeros(1, 1, 3, dtype=torch.uint8, device=device)], 1, [0.5] * 3, [0.2] * 3),
    }[op]


def _contest(op):
    contenders = {OURS: getattr(pose2seg_ops, op), REFERENCE: getattr(reference, op)}
    return Contest("call overhead", op, lambda device: _arguments(op, device), contenders, longest=_LONGEST)


CONTESTS = [_contest(op) for op in pose2seg_ops.__all__ if op.islower()]


def test_call_overhead(race, contest, contender):
    """From Python to the kernel, without a gradient."""
    race(contest, contender)
