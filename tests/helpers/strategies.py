"""Hypothesis strategies for the op tests: shapes, memory layouts and extreme numbers."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_count import thread_count

EXTREMES = (
    *(0.0, -0.0, 1e-45, -1e-40, 1e-310, 1e-30, 0.5, 1.0, 7.0, 50.0, -50.0),
    *(1e7, 1e30, -1e30, 3e38, torch.inf, -torch.inf, torch.nan),
)
MEMORY = ("contiguous", "innermost", "stepped", "sliced", "permuted", "negated")

seeds = st.integers(0, 2**32 - 1)
conventions = st.sampled_from(("integer", "half_pixel", "pose2seg"))
indices = st.sampled_from((0, 0, 1, 1, 2, -1, 2**62, -(2**63)))
memory = st.sampled_from(MEMORY)


def sizes(largest: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, largest), st.integers(1, largest))


def spikes(*values: float, most: int = 3) -> st.SearchStrategy[list[tuple[int, float]]]:
    """Draws the places of extreme numbers among random ones; see `put`."""
    return st.lists(st.tuples(st.integers(0, 999), st.sampled_from(values or EXTREMES)), max_size=most)


def put(spikes: list[tuple[int, float]], tensor: torch.Tensor) -> torch.Tensor:
    """Returns the contiguous `tensor` with the values in their places."""
    for place, value in spikes:
        if tensor.numel():
            tensor.view(-1)[place % tensor.numel()] = value
    return tensor


def in_memory(kind: str, tensor: torch.Tensor) -> torch.Tensor:
    """Returns an equal tensor with another memory layout."""
    if kind == "innermost":  # channels_last, for four dimensions
        return tensor.movedim(1, -1).contiguous().movedim(-1, 1)
    if kind == "stepped":
        return torch.stack((tensor, tensor), -1)[..., 0]
    if kind == "sliced":  # part of a larger tensor, whose other values would show in the results
        larger = torch.full([size + 2 for size in tensor.shape], 77, dtype=tensor.dtype, device=tensor.device)
        inner = larger[tuple(slice(1, -1) for _ in tensor.shape)]
        return inner.copy_(tensor)
    if kind == "permuted":
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if kind == "negated" and tensor.is_floating_point():
        return torch._neg_view(-tensor)
    return tensor


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def many_cases(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Runs a test(backend, ...) on 500 drawn cases, or on 100 with the emulated kernels, which are slow."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def run(backend: Any) -> None:
            @settings(max_examples=100 if backend.name == "emulated" else 500, deadline=None)
            @given(**strategies)
            def case(**drawn: Any) -> None:
                test(backend, **drawn)

            with thread_count(1):  # such small tensors do not need a second thread
                case()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate
