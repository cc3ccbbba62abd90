"""A CUDA graph of an op, or of its gradients, computes from the values that its inputs have at each replay."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from backends import on_gpu_only
from every_op import DIFFERENTIABLE, OPS, RUN_LENGTHS, as_function_of_tensors, changed, same


def captured(run: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
    """Returns a graph of a function of no arguments, and its results, which a replay overwrites."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()  # a capture needs kernels that are loaded
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = run()
    return graph, results


def require_replays(run: Callable[..., Any], tensors: list[torch.Tensor]) -> None:
    """Fails unless a replay has the results of a call, also after the values of the tensors have changed."""
    expected = run(*tensors), run(*changed(tensors))
    graph, results = captured(lambda: run(*tensors))
    graph.replay()
    assert same(results, expected[0])
    for tensor, other in zip(tensors, changed(tensors), strict=True):
        tensor.copy_(other)
    graph.replay()
    assert same(results, expected[1])
    assert not same(*expected)


@on_gpu_only
@pytest.mark.parametrize("op", [op for op in OPS if op not in RUN_LENGTHS and op != "paste_masks"])
def test_a_replay_computes_from_changed_inputs(backend: Any, op: str) -> None:
    require_replays(*as_function_of_tensors(backend, op))


@on_gpu_only
def test_a_replay_of_paste_masks_computes_from_changed_inputs(backend: Any) -> None:
    """The index of the images must be on the host, since it determines the number of masks of each."""
    run, (probabilities, matrices, batch_index) = as_function_of_tensors(backend, "paste_masks")
    on_host = batch_index.cpu()
    require_replays(
        lambda probabilities, matrices: run(probabilities, matrices, on_host), [probabilities, matrices]
    )


@on_gpu_only
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_replay_computes_gradients_from_changed_inputs(backend: Any, op: str) -> None:
    run, tensors = as_function_of_tensors(backend, op)

    def gradients(*tensors: torch.Tensor) -> Any:
        leaves = [tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
        output = run(*leaves)
        return torch.autograd.grad(output.square().sum(), [leaf for leaf in leaves if leaf.requires_grad])

    require_replays(gradients, tensors)
