"""No op synchronises, copies to the host or allocates more than its results, unless its docstring says so.

A CUDA graph requires this. Without a GPU, the tests watch which operators the ops call, and what their
sources can call.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from every_op import DIFFERENTIABLE, OPS, RUN_LENGTHS, valid_arguments
from paths import ROOT
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TENSORS_RETURNED = {"fit_pose_templates": 3, "letterbox": 2, "paste_masks": 2}  # 1 for the others
WANTED = ("input", "keypoints", "matrices")

# The only operators of torch that may run: none copies values to the host or derives a shape from them.
HARMLESS = {
    *("empty", "detach", "resolve_neg", "slice", "select", "unsqueeze", "split_with_sizes"),
    *("mul", "add", "sum", "eq", "where", "scalar_tensor", "ones_like", "zeros_like", "cat"),
}


def allocations(run: Callable[[], Any]) -> int:
    """Returns the number of tensors that the ops allocate in a call, including the results."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        kept = run()
    assert kept is not run  # kept alive, so that its memory is not reused meanwhile
    events = profiled.profiler.kineto_results.events()
    ranges = [
        (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in events
        if event.name().startswith("pose2seg_ops")
    ]
    taken = [event.start_ns() for event in events if event.name() == "[memory]" and event.nbytes() > 0]
    return sum(any(start <= time <= end for start, end in ranges) for time in taken)


class ReadBackError(Exception):
    """An operator that would synchronise with the device."""


class Watch(TorchDispatchMode):
    """Refuses all operators of torch that are not listed above, including those called from C++."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, name = function.name().split("::")
        name = name.partition(".")[0]
        if namespace.startswith("pose2seg_ops"):
            device = next(a for a in tree_leaves(args) if isinstance(a, torch.Tensor)).device.type
            with self:  # watch the kernel itself
                return function._op_dk(getattr(torch._C.DispatchKey, device.upper()), *args, **kwargs or {})
        with self:  # watch the operators that a composite operator calls
            composed = function.decompose(*args, **kwargs or {})
        if composed is not NotImplemented:
            return composed
        if name not in HARMLESS:
            raise ReadBackError(f"{namespace}::{name}")
        return function(*args, **kwargs or {})


@pytest.fixture
def no_host_reads(monkeypatch):
    """Makes every function that copies values to the host or synchronises raise an error, even if it calls no
    operator."""

    def refuse(name: str) -> Any:
        def refused(*_: Any, **__: Any) -> Any:
            raise ReadBackError(name)

        return refused

    readers = ("item", "tolist", "numpy", "cpu", "cuda", "to", "nonzero", "unique", "equal", "__array__")
    for name in (*readers, "__bool__", "__int__", "__float__", "__index__", "__contains__"):
        monkeypatch.setattr(torch.Tensor, name, refuse(name))
    monkeypatch.setattr(torch.cuda, "synchronize", refuse("synchronize"))


def call(backend, op: str, requires_grad: bool = False) -> Any:
    arguments = valid_arguments(op, backend.device)
    if op == "paste_masks":
        arguments["batch_index"] = arguments["batch_index"].cpu()
    for name in WANTED:
        if requires_grad and name in arguments:
            arguments[name].requires_grad_()
    return lambda: getattr(backend, op)(**arguments)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("op", [op for op in OPS if op not in RUN_LENGTHS])
def test_forward_does_not_synchronise_and_allocates_only_its_outputs(request, backend, op, requires_grad):
    run = call(backend, op, requires_grad and op in DIFFERENTIABLE)
    request.getfixturevalue("no_host_reads")
    with Watch():
        run()
    assert allocations(run) == TENSORS_RETURNED.get(op, 1)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_backward_does_not_synchronise(request, backend, op):
    output = call(backend, op, requires_grad=True)()
    grad = torch.ones_like(output)
    request.getfixturevalue("no_host_reads")
    with Watch():
        output.backward(grad, retain_graph=True)
    # Each gradient, and the scratch memory of its kernels per instance: a footprint, or sums of rows or
    # tiles.
    sampled, drawn = op != "skeleton_maps", op != "affine_align"
    assert allocations(lambda: output.backward(grad)) == 4 * sampled + drawn


def test_run_lengths_copy_the_index_to_the_host(request, backend):
    """Shows that Watch detects a copy to the host."""
    run = call(backend, "paste_rle")
    request.getfixturevalue("no_host_reads")
    with pytest.raises(ReadBackError, match="tolist"):
        run()


def test_the_reference_is_detected(request):
    """Shows that Watch detects what the ops avoid."""
    from pose2seg_ops import reference

    arguments = valid_arguments("affine_align")
    request.getfixturevalue("no_host_reads")
    with Watch(), pytest.raises(ReadBackError):
        reference.affine_align(**arguments)


def found(pattern: str, *globs: str) -> dict[str, list[str]]:
    """Returns the matches in each file that has any, ignoring comments."""
    files = sorted(path for glob in globs for path in ROOT.glob(glob))
    assert len(files) > 5
    texts = {path.name: re.sub(r'//.*|#.*|"""[\s\S]*?"""', "", path.read_text()) for path in files}
    matches = {name: re.findall(pattern, text) for name, text in texts.items()}
    return {name: hits for name, hits in matches.items() if hits}


def test_only_known_sources_copy_to_the_host():
    waiting = r"\bto_cpu\(|\.cpu\(|\.item\b|\.tolist\(|\.numpy\(|[sS]ynchronize|cudaMem\w+|nonzero|masked_select|\.to\("
    assert found(waiting, "csrc/ops/*.cpp", "csrc/cuda/*", "csrc/bindings.cpp", "pose2seg_ops/*.py") == {
        "paste.cpp": ["to_cpu("],  # an index on a GPU
        "rle.cpp": ["to_cpu(", "to_cpu("],  # the characters of all masks, and their numbers before
        "paste_rle.py": [".cpu(", ".tolist("],
        "_rle.py": [".numpy(", ".tolist("],
        "roi_align.py": [".to("],  # another dtype
    }


def test_kernels_allocate_nothing():
    assert found(r"\bnew\b|malloc|Malloc|std::vector|at::|torch", "csrc/cuda/*") == {}
