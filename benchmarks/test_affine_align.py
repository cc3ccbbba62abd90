from collections.abc import Callable
from typing import Any

import torch

import pose2seg_ops
from benchmarks import original
from benchmarks.case import FLOOR, OURS, REFERENCE, Case
from benchmarks.inputs import ROI, features, matrices, name_of
from pose2seg_ops import reference

_CHANNELS = 256


def _case(instances, memory_format, dtype):
    def inputs(device):
        batch_index = torch.zeros(instances, dtype=torch.long, device=device)
        return (
            features(_CHANNELS, memory_format, dtype).to(device),
            matrices(instances).to(device),
            batch_index,
            ROI,
        )

    def floor(input, matrices, *_):
        shape = (len(matrices), _CHANNELS, *ROI)
        return torch.empty(shape, dtype=dtype, device=input.device, memory_format=memory_format).fill_(1)

    implementations: dict[str, Callable[..., Any]] = {
        OURS: pose2seg_ops.affine_align,
        REFERENCE: reference.affine_align,
        FLOOR: floor,
    }
    if dtype == torch.float32 and instances <= 32:  # the copies of 128 maps take 2 GB
        implementations["original"] = original.affine_align
    label = f"N={instances}, {name_of(memory_format)}, {name_of(dtype)}"
    precise = dtype == torch.float32
    tolerance = 1e-3 if precise else 2e-2
    targets = _TARGETS.get((instances, memory_format), {}) if precise else {}
    return Case("affine_align", label, inputs, implementations, targets, tolerance)


_TARGETS: dict[tuple[int, torch.memory_format], dict[str, float]] = {
    (1, torch.channels_last): {REFERENCE: 8},
    (8, torch.channels_last): {FLOOR: 1},
    (32, torch.channels_last): {FLOOR: 1},
    (128, torch.channels_last): {FLOOR: 1},
    (1, torch.contiguous_format): {REFERENCE: 3},
    (8, torch.contiguous_format): {REFERENCE: 1.6, FLOOR: 1 / 1.3},
    (32, torch.contiguous_format): {REFERENCE: 1.6, FLOOR: 1 / 1.3},
}


def _case_with_out():
    """Writes into a tensor that a server keeps between its requests."""
    instances, memory_format = 32, torch.channels_last

    def inputs(device):
        batch_index = torch.zeros(instances, dtype=torch.long, device=device)
        shape = (instances, _CHANNELS, *ROI)
        return (
            features(_CHANNELS, memory_format, torch.float32).to(device),
            matrices(instances).to(device),
            batch_index,
            torch.zeros(shape, device=device).to(memory_format=memory_format),
        )

    def with_out(input, matrices, batch_index, out):
        return pose2seg_ops.affine_align(input, matrices, batch_index, ROI, out=out)

    def without(affine_align):
        return lambda input, matrices, batch_index, _: affine_align(input, matrices, batch_index, ROI)

    implementations = {
        OURS: with_out,
        "new tensor": without(pose2seg_ops.affine_align),
        REFERENCE: without(reference.affine_align),
    }
    label = f"N={instances}, {name_of(memory_format)}, float32, out"
    limit = "a new tensor gets huge pages, which the system clears faster than ordinary ones"
    return Case("affine_align", label, inputs, implementations, {"new tensor": 2}, limit=limit)


CASES = [
    *(
        _case(instances, memory_format, dtype)
        for dtype in (torch.float32, torch.bfloat16)
        for memory_format in (torch.channels_last, torch.contiguous_format)
        for instances in (1, 8, 32, 128)
    ),
    _case_with_out(),
]


def test_affine_align(check_and_time, case, implementation):
    """C = 256, 128 x 128 -> 64 x 64: the RoIs of Pose2Seg."""
    check_and_time(case, implementation)
