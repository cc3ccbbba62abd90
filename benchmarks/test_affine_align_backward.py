import torch

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case, backward, gradients_within
from benchmarks.inputs import ROI, features, matrices, name_of
from pose2seg_ops import reference


def _case(instances, memory_format, of, dtype):
    """Times only the backward pass; both graphs are built beforehand."""

    def inputs(device):
        leaves = {
            "input": features(256, memory_format, dtype).to(device),
            "matrices": matrices(instances).to(device),
        }
        leaf = leaves[of].requires_grad_()
        batch_index = torch.zeros(instances, dtype=torch.long, device=device)
        outputs = {
            OURS: pose2seg_ops.affine_align(leaves["input"], leaves["matrices"], batch_index, ROI),
            REFERENCE: reference.affine_align(leaves["input"], leaves["matrices"], batch_index, ROI),
        }
        gradient = torch.randn_like(outputs[OURS])
        return leaves, leaf, outputs, gradient

    precise = dtype == torch.float32
    return Case(
        f"affine_align backward to {of}",
        f"N={instances}, {name_of(memory_format)}, {name_of(dtype)}",
        inputs,
        {name: backward(name) for name in (OURS, REFERENCE)},
        {REFERENCE: 3} if of == "input" and precise else {},
        agree=gradients_within(1e-4 if precise else 1e-2),
    )


CASES = [
    _case(instances, memory_format, of, dtype)
    for of in ("input", "matrices")
    for dtype in (torch.float32, torch.bfloat16)
    for memory_format in (torch.channels_last, torch.contiguous_format)
    for instances in (1, 8, 32, 128)
]


def test_affine_align_backward(check_and_time, case, implementation):
    check_and_time(case, implementation)
