"""Every op has a range with its name in a profile, which emit_nvtx shows on an NVIDIA timeline."""

import pytest
import torch
from every_op import OPS, valid_arguments
from torch.profiler import ProfilerActivity, profile

import pose2seg_ops

BACKWARD_OF = {
    "affine_align": {"affine_align_backward_input", "affine_align_backward_matrices"},
    "skeleton_maps": {"skeleton_maps_backward"},
    "align_with_skeleton": {
        "affine_align_backward_input",
        "affine_align_backward_matrices",
        "skeleton_maps_backward",
    },
}


def ranges(operators, run):
    """Returns how often the range of each operator of the package was entered."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
    prefix = f"{operators.name}::"
    counts = {event.key: event.count for event in profiled.key_averages()}
    return {key.removeprefix(prefix): count for key, count in counts.items() if key.startswith(prefix)}


@pytest.mark.parametrize("op", OPS)
def test_forward(backend, op):
    arguments = valid_arguments(op, backend.device)
    assert ranges(backend.operators, lambda: getattr(backend, op)(**arguments)) == {op: 1}


@pytest.mark.parametrize("op", BACKWARD_OF)
def test_backward(backend, op):
    arguments = {
        name: value.requires_grad_()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for name, value in valid_arguments(op, backend.device).items()
    }
    result = ranges(backend.operators, lambda: getattr(backend, op)(**arguments).sum().backward())
    assert result == dict.fromkeys({op, *BACKWARD_OF[op]}, 1)


def test_compiled():
    arguments = valid_arguments("affine_align")
    compiled = torch.compile(pose2seg_ops.affine_align, backend="aot_eager")
    compiled(**arguments)
    assert ranges(torch.ops.pose2seg_ops, lambda: compiled(**arguments)) == {"affine_align": 1}
