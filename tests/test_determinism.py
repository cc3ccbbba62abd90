"""The same bits on every run and thread count, and where torch is asked for deterministic algorithms."""

import pytest
import torch
from every_op import OPS, results, same


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
