"""The ops run on the current stream of the calling thread, and copies from host memory do not wait."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from backends import on_gpu_only
from every_op import OPS, PARALLEL_SCALE, as_function_of_tensors, changed, require_reference, results, same
from pose2seg.network.transfer import to_device

_CYCLES = 100_000_000  # for which a stream is kept busy: some 50 ms
SCALES = (1, PARALLEL_SCALE)


@on_gpu_only
@pytest.mark.parametrize("op", OPS)
def test_an_op_follows_the_work_of_its_stream(backend: Any, op: str) -> None:
    """The stream changes the inputs late; an op on any other stream would read the values before."""
    run, tensors = as_function_of_tensors(backend, op)
    others = changed(tensors)
    before, expected = run(*tensors), run(*others)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(_CYCLES)
        for tensor, other in zip(tensors, others, strict=True):
            tensor.copy_(other)
        found = run(*tensors)
    stream.synchronize()
    assert same(found, expected)
    assert not same(before, expected)


@on_gpu_only
@pytest.mark.parametrize("op", OPS)
def test_results_and_gradients_are_used_on_another_stream(backend: Any, op: str) -> None:
    made, used = torch.cuda.Stream(), torch.cuda.Stream()
    for _ in range(3):  # later rounds get memory that earlier ones have freed
        with torch.cuda.stream(made):
            torch.cuda._sleep(_CYCLES)
            found = results(backend, op)
        used.wait_stream(made)
        with torch.cuda.stream(used):
            kept = torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, found)
        made.wait_stream(used)  # before the memory of the results is used again
        del found
        used.synchronize()
        require_reference(kept, op)


@on_gpu_only
@pytest.mark.parametrize("op", OPS)
def test_two_threads_with_streams_of_their_own(backend: Any, op: str) -> None:
    expected = [results(backend, op, scale) for scale in SCALES]
    ready = Barrier(len(SCALES))

    def run(scale: int) -> list[Any]:
        with torch.cuda.stream(torch.cuda.Stream()):
            ready.wait()
            found = [results(backend, op, scale) for _ in range(5)]
            torch.cuda.current_stream().synchronize()
        return found

    torch.cuda.synchronize()
    with ThreadPoolExecutor(len(SCALES)) as pool:
        for answers, alone in zip(pool.map(run, SCALES), expected, strict=True):
            assert all(same(answer, alone) for answer in answers)


@on_gpu_only
def test_copies_from_pinned_memory_arrive_unchanged(backend: Any) -> None:
    """The next transfer must not overwrite pinned memory that the stream has not yet read."""
    sources = [[torch.full((100_000,), i), torch.rand(3, 17, 3)] for i in range(20)]
    torch.cuda._sleep(_CYCLES)
    arrived = [to_device(tensors, torch.device("cuda", torch.cuda.current_device())) for tensors in sources]
    for there, here in zip(arrived, sources, strict=True):
        assert all(tensor.is_cuda for tensor in there)
        assert same([tensor.cpu() for tensor in there], here)
