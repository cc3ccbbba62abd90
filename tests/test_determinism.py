"""The same bits on every run and thread count, and where torch is asked for deterministic algorithms."""

from typing import Any

import pytest
import torch
from every_op import OPS, good_arguments

DIFFERENTIABLE = ("affine_align", "skeleton_maps", "align_with_skeleton")


def results(backend, op: str) -> Any:
    """What the op returns; and the gradients to all that has one."""
    arguments = good_arguments(op, backend.device)
    leaves = [arguments[name] for name in ("input", "keypoints", "matrices") if name in arguments]
    if op not in DIFFERENTIABLE:
        return getattr(backend, op)(**arguments)
    for leaf in leaves:
        leaf.requires_grad_()
    output = getattr(backend, op)(**arguments)
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    return output.detach(), *torch.autograd.grad(output, leaves, grad)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("op", OPS)
def test_every_thread_count_gives_the_same_bits(backend, op):
    threads = torch.get_num_threads()
    runs = []
    try:
        for count in (1, 2, 3, 1):
            torch.set_num_threads(count)
            runs.append(results(backend, op))
    finally:
        torch.set_num_threads(threads)
    assert all(same(runs[0], run) for run in runs[1:])


@pytest.mark.parametrize("op", OPS)
def test_deterministic_algorithms_change_nothing(backend, op):
    """torch then fills fresh memory with NaN or its largest number: all of it must be written."""
    expected = results(backend, op)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(1).isnan()
        assert same(expected, results(backend, op))
    finally:
        torch.use_deterministic_algorithms(False)
