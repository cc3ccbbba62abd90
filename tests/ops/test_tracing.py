"""Everything that records operators sees the ops; no kernel gets a tensor without memory of its own."""

from operator import attrgetter
from typing import Any

import pytest
import torch
from every_op import (
    DIFFERENTIABLE,
    OPS,
    RUN_LENGTHS,
    as_function_of_tensors,
    changed,
    same,
    valid_arguments,
)
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._pytree import tree_leaves, tree_map_only

import pose2seg_ops

TO_TENSORS = [op for op in OPS if op not in RUN_LENGTHS]
FIXED_SHAPES = [
    op for op in TO_TENSORS if op != "paste_masks"
]  # its batch_index determines the number of masks
TENSORS = [
    (op, name) for op in OPS for name, value in valid_arguments(op).items() if isinstance(value, torch.Tensor)
]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("op", FIXED_SHAPES)
@pytest.mark.parametrize(
    "trace", [torch.jit.trace, lambda call, tensors: make_fx(call)(*tensors)], ids=["jit", "fx"]
)
def test_a_trace_computes(backend, op, trace):
    call, tensors = as_function_of_tensors(backend, op)
    traced = trace(call, tuple(tensors))
    others = changed(tensors)
    assert same(traced(*others), call(*others))


@pytest.mark.parametrize("op", TO_TENSORS)
def test_subclasses_see_the_operator(backend, op):
    call, tensors = as_function_of_tensors(backend, op)
    results = call(*(TwoTensor(tensor, tensor.clone()) for tensor in tensors))
    expected = call(*tensors)
    assert same(tree_map_only(TwoTensor, attrgetter("a"), results), expected)
    assert same(tree_map_only(TwoTensor, attrgetter("b"), results), expected)


class SeenFunctions(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.names.append(str(function))
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("op", OPS)
def test_a_function_mode_sees_only_the_operator(backend, op):
    run, tensors = as_function_of_tensors(backend, op)
    expected = run(*tensors)
    with SeenFunctions() as seen:
        result = run(*tensors)
    assert any(name.endswith(f".{op}") for name in seen.names)
    assert not any("is_neg" in name or "contiguous" in name for name in seen.names)
    assert same(result, expected)


@pytest.mark.parametrize(("op", "name"), TENSORS)
def test_a_subclass_without_memory_never_reaches_a_kernel(backend, op, name):
    arguments = valid_arguments(op, backend.device)
    value = arguments[name]
    arguments[name] = TwoTensor(value, value.clone())
    if op in RUN_LENGTHS:
        with pytest.raises(
            TypeError, match=f"^{name} must be a dense tensor, got one without memory of its own"
        ):
            getattr(backend, op)(**arguments)
    else:
        getattr(backend, op)(**arguments)


@pytest.mark.parametrize(("op", "name"), [row for row in TENSORS if row[0] in FIXED_SHAPES])
def test_a_fake_tensor_never_reaches_a_kernel(backend, op, name):
    arguments = valid_arguments(op, backend.device)
    expected = getattr(backend, op)(**arguments)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        arguments[name] = mode.from_tensor(arguments[name])
        results = getattr(backend, op)(**arguments)
    for got, want in zip(tree_leaves(results), tree_leaves(expected), strict=True):
        assert isinstance(got, FakeTensor)
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())


@pytest.mark.parametrize("op", TO_TENSORS)
def test_meta_tensors_have_the_right_shapes(op):
    arguments = valid_arguments(op)
    expected = getattr(pose2seg_ops, op)(**arguments)
    on_meta = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), arguments)
    if op == "paste_masks":
        on_meta["batch_index"] = arguments["batch_index"]  # its values determine the shapes
    results = getattr(pose2seg_ops, op)(**on_meta)
    for got, want in zip(tree_leaves(results), tree_leaves(expected), strict=True):
        assert got.is_meta
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())


@pytest.mark.parametrize("op", RUN_LENGTHS)
def test_run_lengths_need_values(op):
    arguments = valid_arguments(op)
    on_meta = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), arguments)
    with pytest.raises(NotImplementedError, match="must be on a cpu or cuda device, got meta"):
        getattr(pose2seg_ops, op)(**on_meta)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_transform_of_torch_func_sees_the_operator(backend, op):
    call, tensors = as_function_of_tensors(backend, op)
    assert same(torch.func.functionalize(call)(*tensors), call(*tensors))


@pytest.mark.parametrize("op", TO_TENSORS)
def test_fake_kernels_ignore_the_default_dtype(backend, op):
    call, tensors = as_function_of_tensors(backend, op)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        expected = call(*tensors)
        compiled = torch.compile(call, backend="aot_eager")(*tensors)
    finally:
        torch.set_default_dtype(before)
    assert same(compiled, expected)
    for got, want in zip(tree_leaves(compiled), tree_leaves(expected), strict=True):
        assert got.dtype == want.dtype


# Each op, with sizes taken from the shape of an image.
OPEN_SIZES = {
    "affine_align": lambda size: {"output_size": size},
    "skeleton_maps": lambda size: {"output_size": size},
    "align_with_skeleton": lambda size: {"output_size": size},
    "fit_pose_templates": lambda size: {"source_size": size, "output_size": size},
    "paste_masks": lambda size: {"image_sizes": [size, size]},
    "letterbox": lambda size: {"size": size},
}


@pytest.mark.parametrize("op", TO_TENSORS)
def test_one_graph_serves_all_sizes(backend, op):
    arguments = valid_arguments(op, backend.device)
    counter = CompileCounter()

    def of(image: torch.Tensor) -> Any:
        height, width = image.shape
        return getattr(backend, op)(**(arguments | OPEN_SIZES[op]((height, width))))

    compiled = torch.compile(of, backend=counter, dynamic=True, fullgraph=True)
    for height in range(20, 24):
        image = torch.zeros(height, height + 7)
        assert same(compiled(image), of(image))
    assert counter.frame_count == 1
