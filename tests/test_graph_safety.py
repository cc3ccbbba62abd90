"""No op waits for the device, reads it back or allocates more than it returns, but where its docstring says so.

That is what a CUDA graph asks for. Without a GPU it is shown by what the ops call while they run, and by what
their sources can call at all.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from every_op import DIFFERENTIABLE, OPS, good_arguments
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[1]
READ_BACK = ("paste_rle", "encode_rle")  # run lengths are Python data; paste_masks: only an index on a GPU
TENSORS_RETURNED = {"fit_pose_templates": 3, "letterbox": 2, "paste_masks": 2}  # else 1
WANTED = ("input", "keypoints", "matrices")

# Of torch's own operators these and no others run: none reads values on the host or makes a shape of them.
HARMLESS = {
    *("empty", "detach", "resolve_neg", "slice", "select", "unsqueeze", "split_with_sizes"),
    *("mul", "add", "sum", "eq", "where", "scalar_tensor", "ones_like", "zeros_like", "cat"),
}


def allocations(run: Callable[[], Any]) -> int:
    """The number of tensors that the ops allocate in a call, those that they return among them."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        kept = run()
    assert kept is not run  # alive, so that its memory is not given back meanwhile
    events = profiled.profiler.kineto_results.events()
    ranges = [
        (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in events
        if event.name().startswith("pose2seg_ops")
    ]
    taken = [event.start_ns() for event in events if event.name() == "[memory]" and event.nbytes() > 0]
    return sum(any(start <= time <= end for start, end in ranges) for time in taken)


class ReadBackError(Exception):
    """Something would have waited for the device."""


class Watch(TorchDispatchMode):
    """Refuses all of torch's operators that are not harmless, those that C++ calls too."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, name = function.name().split("::")
        name = name.partition(".")[0]
        if namespace.startswith("pose2seg_ops"):
            device = next(a for a in tree_leaves(args) if isinstance(a, torch.Tensor)).device.type
            with self:  # the kernel itself, watched
                return function._op_dk(getattr(torch._C.DispatchKey, device.upper()), *args, **kwargs or {})
        with self:  # what is made of other operators is what these do
            composed = function.decompose(*args, **kwargs or {})
        if composed is not NotImplemented:
            return composed
        if name not in HARMLESS:
            raise ReadBackError(f"{namespace}::{name}")
        return function(*args, **kwargs or {})


@pytest.fixture
def no_host_reads(monkeypatch):
    """What brings values to the host, or waits for them, is an error; also where no operator is called."""

    def refuse(name: str) -> Any:
        def refused(*_: Any, **__: Any) -> Any:
            raise ReadBackError(name)

        return refused

    readers = ("item", "tolist", "numpy", "cpu", "cuda", "to", "nonzero", "unique", "equal", "__array__")
    for name in (*readers, "__bool__", "__int__", "__float__", "__index__", "__contains__"):
        monkeypatch.setattr(torch.Tensor, name, refuse(name))
    monkeypatch.setattr(torch.cuda, "synchronize", refuse("synchronize"))


def call(backend, op: str, requires_grad: bool = False) -> Any:
    arguments = good_arguments(op, backend.device)
    if op == "paste_masks":
        arguments["batch_index"] = arguments["batch_index"].cpu()
    for name in WANTED:
        if requires_grad and name in arguments:
            arguments[name].requires_grad_()
    return lambda: getattr(backend, op)(**arguments)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("op", [op for op in OPS if op not in READ_BACK])
def test_forward_waits_for_nothing_and_allocates_its_outputs(request, backend, op, requires_grad):
    run = call(backend, op, requires_grad and op in DIFFERENTIABLE)
    request.getfixturevalue("no_host_reads")
    with Watch():
        run()
    assert allocations(run) == TENSORS_RETURNED.get(op, 1)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_backward_waits_for_nothing(request, backend, op):
    output = call(backend, op, requires_grad=True)()
    grad = torch.ones_like(output)
    request.getfixturevalue("no_host_reads")
    with Watch():
        output.backward(grad, retain_graph=True)
    # Each gradient, and what its kernels share of an instance: a footprint, sums of rows or tiles.
    sampled, drawn = op != "skeleton_maps", op != "affine_align"
    assert allocations(lambda: output.backward(grad)) == 4 * sampled + drawn


def test_an_index_is_read_back_for_run_lengths(request, backend):
    """The watch would see it."""
    run = call(backend, "paste_rle")
    request.getfixturevalue("no_host_reads")
    with pytest.raises(ReadBackError, match="tolist"):
        run()


def test_the_reference_is_found_out(request):
    """Neither is the watch blind to what the ops avoid."""
    from pose2seg_ops import reference

    arguments = good_arguments("affine_align")
    request.getfixturevalue("no_host_reads")
    with Watch(), pytest.raises(ReadBackError):
        reference.affine_align(**arguments)


@pytest.mark.parametrize("op", [op for op in OPS if op not in READ_BACK])
def test_a_cuda_graph_replays_it(backend, op):
    if backend.device.type != "cuda":
        pytest.skip("a CUDA graph needs a GPU")
    run = call(backend, op)
    expected = run()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):  # a graph wants to have seen its work once, on another stream
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        actual = run()
    graph.replay()
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def found(pattern: str, *globs: str) -> dict[str, list[str]]:
    """The matches in each file that has some; comments do not count."""
    files = sorted(path for glob in globs for path in ROOT.glob(glob))
    assert len(files) > 5
    texts = {path.name: re.sub(r'//.*|#.*|"""[\s\S]*?"""', "", path.read_text()) for path in files}
    matches = {name: re.findall(pattern, text) for name, text in texts.items()}
    return {name: hits for name, hits in matches.items() if hits}


def test_the_sources_read_back_where_they_say_so():
    waiting = r"\bto_cpu\(|\.cpu\(|\.item\b|\.tolist\(|\.numpy\(|[sS]ynchronize|cudaMem\w+|nonzero|masked_select|\.to\("
    assert found(waiting, "csrc/ops/*.cpp", "csrc/cuda/*", "csrc/bindings.cpp", "pose2seg_ops/*.py") == {
        "paste.cpp": ["to_cpu("],  # an index on a GPU
        "rle.cpp": ["to_cpu("],  # the boundaries of all masks, once
        "paste_rle.py": [".cpu(", ".tolist("],
        "_rle.py": [".numpy(", ".tolist("],
    }


def test_kernels_allocate_nothing():
    assert found(r"\bnew\b|malloc|Malloc|std::vector|at::|torch", "csrc/cuda/*") == {}
