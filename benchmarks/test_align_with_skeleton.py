import torch

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case
from benchmarks.inputs import ROI, features, matrices, name_of, people
from pose2seg_ops import affine_align, reference, skeleton_maps
from pose2seg_ops.keypoints import transform_keypoints


def two_ops_and_cat(input, keypoints, matrices, batch_index, size):
    """Computes the same with our two other ops."""
    moved = transform_keypoints(keypoints, matrices)
    windows = affine_align(input, matrices, batch_index, size)
    return torch.cat((windows, skeleton_maps(moved, size, dtype=input.dtype)), 1)


def _case(instances, memory_format, dtype):
    def inputs(device):
        batch_index = torch.zeros(instances, dtype=torch.long)
        arguments = (
            features(256, memory_format, dtype),
            people(instances),
            matrices(instances),
            batch_index,
        )
        return (*(argument.to(device) for argument in arguments), ROI)

    implementations = {
        OURS: pose2seg_ops.align_with_skeleton,
        REFERENCE: reference.align_with_skeleton,
        "two ops and cat": two_ops_and_cat,
    }
    precise = dtype == torch.float32
    return Case(
        "align_with_skeleton",
        f"N={instances}, {name_of(memory_format)}, {name_of(dtype)}",
        inputs,
        implementations,
        {"two ops and cat": 1 / 0.75} if precise else {},
        1e-3 if precise else 2e-2,
    )


CASES = [
    _case(instances, memory_format, dtype)
    for dtype in (torch.float32, torch.bfloat16)
    for memory_format in (torch.channels_last, torch.contiguous_format)
    for instances in (1, 8, 32, 128)
]


def test_align_with_skeleton(check_and_time, case, implementation):
    check_and_time(case, implementation)
