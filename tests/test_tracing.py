"""Whoever records operators finds those of the ops; no kernel gets a tensor that has no memory of its own."""

from operator import attrgetter
from typing import Any

import pytest
import torch
from every_op import DIFFERENTIABLE, OPS, good_arguments, same
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._pytree import tree_leaves, tree_map_only

import pose2seg_ops

TO_PYTHON = ("paste_rle", "encode_rle")  # run lengths are no tensors
TO_TENSORS = [op for op in OPS if op not in TO_PYTHON]
FIXED_SHAPES = [op for op in TO_TENSORS if op != "paste_masks"]  # its batch_index decides the number of masks
TENSORS = [
    (op, name) for op in OPS for name, value in good_arguments(op).items() if isinstance(value, torch.Tensor)
]


def as_function_of_tensors(backend, op: str) -> tuple[Any, list[torch.Tensor]]:
    """The op as a function of its tensors alone, and these."""
    arguments = good_arguments(op, backend.device)
    if op == "letterbox":
        images = arguments.pop("images")

        def of_images(*images: torch.Tensor) -> Any:
            return getattr(backend, op)(list(images), **arguments)

        return of_images, images
    names = [name for name, value in arguments.items() if isinstance(value, torch.Tensor)]

    def call(*tensors: torch.Tensor) -> Any:
        result = getattr(backend, op)(**(arguments | dict(zip(names, tensors, strict=True))))
        return tuple(result) if isinstance(result, list) else result

    return call, [arguments[name] for name in names]


def changed(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors of other values, for which a graph of constants would not do."""
    return [tensor // 2 if tensor.dtype == torch.uint8 else tensor.flip(0) for tensor in tensors]


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


@pytest.mark.parametrize(("op", "name"), TENSORS)
def test_a_subclass_in_any_place_never_reaches_a_kernel(backend, op, name):
    arguments = good_arguments(op, backend.device)
    value = arguments[name]
    arguments[name] = TwoTensor(value, value.clone())
    if op in TO_PYTHON:
        with pytest.raises(
            TypeError, match=f"^{name} must be a dense tensor, got one without memory of its own"
        ):
            getattr(backend, op)(**arguments)
    else:
        getattr(backend, op)(**arguments)


@pytest.mark.parametrize(("op", "name"), [row for row in TENSORS if row[0] in FIXED_SHAPES])
def test_nor_does_a_fake_tensor(backend, op, name):
    arguments = good_arguments(op, backend.device)
    expected = getattr(backend, op)(**arguments)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        arguments[name] = mode.from_tensor(arguments[name])
        results = getattr(backend, op)(**arguments)
    for got, want in zip(tree_leaves(results), tree_leaves(expected), strict=True):
        assert isinstance(got, FakeTensor)
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())


@pytest.mark.parametrize("op", TO_TENSORS)
def test_meta_tensors_tell_shapes(op):
    arguments = good_arguments(op)
    expected = getattr(pose2seg_ops, op)(**arguments)
    on_meta = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), arguments)
    if op == "paste_masks":
        on_meta["batch_index"] = arguments["batch_index"]  # whose values decide the shapes
    results = getattr(pose2seg_ops, op)(**on_meta)
    for got, want in zip(tree_leaves(results), tree_leaves(expected), strict=True):
        assert got.is_meta
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())


@pytest.mark.parametrize("op", TO_PYTHON)
def test_run_lengths_need_values(op):
    arguments = good_arguments(op)
    on_meta = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), arguments)
    with pytest.raises(NotImplementedError, match="must be on a cpu or cuda device, got meta"):
        getattr(pose2seg_ops, op)(**on_meta)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_transform_of_torch_func_sees_the_operator(backend, op):
    call, tensors = as_function_of_tensors(backend, op)
    assert same(torch.func.functionalize(call)(*tensors), call(*tensors))


@pytest.mark.parametrize("op", TO_TENSORS)
def test_fake_kernels_give_the_dtypes_whatever_the_default(backend, op):
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


# Each op with sizes that come from the shape of an image.
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
    arguments = good_arguments(op, backend.device)
    counter = CompileCounter()

    def of(image: torch.Tensor) -> Any:
        height, width = image.shape
        return getattr(backend, op)(**(arguments | OPEN_SIZES[op]((height, width))))

    compiled = torch.compile(of, backend=counter, dynamic=True, fullgraph=True)
    for height in range(20, 24):
        image = torch.zeros(height, height + 7)
        assert same(compiled(image), of(image))
    assert counter.frame_count == 1
