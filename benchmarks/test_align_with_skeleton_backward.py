from collections.abc import Callable
from typing import Any

import torch

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case, backward, gradients_within
from benchmarks.inputs import ROI, features, matrices, name_of, people
from benchmarks.test_align_with_skeleton import two_ops_and_cat
from pose2seg_ops import reference


def _case(instances, memory_format, dtype):
    """Times only the backward pass to all differentiable arguments; the graphs are built beforehand."""
    ops: dict[str, Callable[..., Any]] = {
        OURS: pose2seg_ops.align_with_skeleton,
        REFERENCE: reference.align_with_skeleton,
        "two ops and cat": two_ops_and_cat,
    }

    def inputs(device):
        made = features(256, memory_format, dtype), people(instances), matrices(instances)
        leaves = tuple(leaf.to(device).requires_grad_() for leaf in made)
        batch_index = torch.zeros(instances, dtype=torch.long, device=device)
        outputs = {name: op(*leaves, batch_index, ROI) for name, op in ops.items()}
        return leaves, outputs, torch.randn_like(outputs[OURS])

    return Case(
        "align_with_skeleton backward",
        f"N={instances}, {name_of(memory_format)}, {name_of(dtype)}",
        inputs,
        {name: backward(name) for name in ops},
        agree=gradients_within(1e-4 if dtype == torch.float32 else 1e-2),
    )


CASES = [
    _case(instances, memory_format, dtype)
    for dtype in (torch.float32, torch.bfloat16)
    for memory_format in (torch.channels_last, torch.contiguous_format)
    for instances in (1, 8, 32, 128)
]


def test_align_with_skeleton_backward(check_and_time, case, implementation):
    check_and_time(case, implementation)
