import torch

import pose2seg_ops
from benchmarks.contest import OURS, REFERENCE, Contest
from pose2seg_ops import reference


def _nothing(device):
    """Arguments with which the op has nothing to compute."""
    return (
        torch.empty(1, 1, 1, 1, device=device),
        torch.empty(0, 2, 3, device=device),
        torch.empty(0, dtype=torch.long, device=device),
        (1, 1),
    )


CONTESTS = [
    Contest(
        "call overhead",
        "affine_align of nobody",
        _nothing,
        {OURS: pose2seg_ops.affine_align, REFERENCE: reference.affine_align},
    )
]


def test_call_overhead(race, contest, contender):
    """From Python to the kernel, without a gradient: at most 10 microseconds."""
    race(contest, contender)
