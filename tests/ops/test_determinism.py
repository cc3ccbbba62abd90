"""Determinism: the same bits on every run and thread count, and with deterministic algorithms."""

import pytest
import torch
from every_op import OPS, PARALLEL_SCALE, results, same
from thread_count import thread_count


@pytest.mark.parametrize("op", OPS)
def test_every_thread_count_gives_the_same_bits(backend, op):
    runs = []
    for count in (1, 2, 3, 1):
        with thread_count(count):
            runs.append(results(backend, op, PARALLEL_SCALE))
    assert all(same(runs[0], run) for run in runs[1:])


@pytest.mark.parametrize("op", OPS)
def test_deterministic_algorithms_change_nothing(backend, op):
    """torch then fills empty tensors with NaN or the largest number, so every element must be written."""
    expected = results(backend, op)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(1).isnan()
        assert same(expected, results(backend, op))
    finally:
        torch.use_deterministic_algorithms(False)
