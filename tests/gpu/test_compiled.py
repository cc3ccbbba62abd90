"""Inductor compiles a function around each op, also to CUDA graphs, and its gradients."""

from typing import Any

import pytest
import torch
from backends import on_gpu_only
from every_op import DIFFERENTIABLE, OPS, RUN_LENGTHS, as_function_of_tensors, changed

#: The second captures CUDA graphs.
with_modes = pytest.mark.parametrize("mode", ["default", "reduce-overhead"])


@on_gpu_only
@with_modes
@pytest.mark.parametrize("op", [op for op in OPS if op not in RUN_LENGTHS])
def test_inductor_computes_an_op(backend: Any, op: str, mode: str) -> None:
    run, tensors = as_function_of_tensors(backend, op)
    compiled = torch.compile(run, mode=mode)
    for values in (tensors, tensors, changed(tensors), tensors):  # a warm-up, a capture and two replays
        torch.compiler.cudagraph_mark_step_begin()
        torch.testing.assert_close(compiled(*values), run(*values))


@on_gpu_only
@with_modes
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_inductor_computes_gradients(backend: Any, op: str, mode: str) -> None:
    run, tensors = as_function_of_tensors(backend, op)

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        return run(*tensors).square().sum()

    compiled = torch.compile(loss, mode=mode, fullgraph=True)
    for values in (tensors, tensors, changed(tensors), tensors):
        torch.compiler.cudagraph_mark_step_begin()
        found = []
        for function in (compiled, loss):
            leaves = [value.clone().requires_grad_(value.is_floating_point()) for value in values]
            function(*leaves).backward()
            found.append([leaf.grad for leaf in leaves if leaf.requires_grad])
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
