"""Tests of `out`, the tensor to which an op writes its result."""

from typing import Any

import pytest
import torch
from every_op import DIFFERENTIABLE, same, valid_arguments
from torch import Tensor

import pose2seg_ops

OPS = [*DIFFERENTIABLE, "letterbox", "paste_masks"]


def tensors_of(op: str, result: Any) -> list[Tensor]:
    """Returns the tensors of a result that `out` stands for."""
    if op == "paste_masks":
        return result
    return [result[0] if op == "letterbox" else result]


def as_out(op: str, tensors: list[Tensor]) -> Any:
    return tensors if op == "paste_masks" else tensors[0]


def filled(tensor: Tensor) -> Tensor:
    """Returns a tensor of the same kind with other values."""
    return torch.ones_like(tensor) if tensor.dtype == torch.bool else torch.full_like(tensor, 77)


def expected_and_out(backend: Any, op: str, arguments: dict[str, Any]) -> tuple[Any, list[Tensor]]:
    expected = getattr(backend, op)(**arguments)
    return expected, [filled(tensor) for tensor in tensors_of(op, expected)]


@pytest.mark.parametrize("op", OPS)
def test_the_result_is_written_to_out(backend, op):
    arguments = valid_arguments(op, backend.device)
    expected, out = expected_and_out(backend, op, arguments)
    versions = [tensor._version for tensor in out]
    result = getattr(backend, op)(**arguments, out=as_out(op, out))
    assert same(result, expected)
    assert all(returned is given for returned, given in zip(tensors_of(op, result), out, strict=True))
    assert all(tensor._version > version for tensor, version in zip(out, versions, strict=True))


@pytest.mark.parametrize("op", [*DIFFERENTIABLE, "letterbox"])
def test_out_may_have_either_memory_format(backend, op):
    arguments = valid_arguments(op, backend.device)
    expected, (out,) = expected_and_out(backend, op, arguments)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        given = out.contiguous(memory_format=memory_format)
        getattr(backend, op)(**arguments, out=given)
        torch.testing.assert_close(given, *tensors_of(op, expected), rtol=1e-6, atol=1e-6)


def test_out_may_be_part_of_a_buffer(backend):
    arguments = valid_arguments("affine_align", backend.device)
    expected = backend.affine_align(**arguments)
    buffer = torch.full((5, *expected.shape[1:]), 7.0, device=backend.device)
    backend.affine_align(**arguments, out=buffer[1:4])
    assert torch.equal(buffer[1:4], expected)
    assert (buffer[0] == 7).all()
    assert (buffer[4] == 7).all()


@pytest.mark.parametrize("op", OPS)
def test_a_compiled_op_writes_to_out(op):
    arguments = valid_arguments(op)
    expected, out = expected_and_out(pose2seg_ops, op, arguments)

    @torch.compile(backend="aot_eager", fullgraph=op != "paste_masks")
    def compiled(out):
        getattr(pose2seg_ops, op)(**arguments, out=as_out(op, out))

    compiled(out)
    assert same(out, tensors_of(op, expected))


def test_a_profiler_sees_the_operator():
    arguments = valid_arguments("affine_align")
    expected, out = expected_and_out(pose2seg_ops, "affine_align", arguments)
    with torch.profiler.profile() as profile:
        pose2seg_ops.affine_align(**arguments, out=out[0])
    assert torch.equal(out[0], expected)
    assert any(event.name == "pose2seg_ops::affine_align" for event in profile.events() or ())


@pytest.mark.parametrize("is_traced", [False, True], ids=["direct", "profiled"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda out: out[:2], ValueError, r"out must .*3, 3, 6, 7.*, got .*2, 3, 6, 7"),
        (lambda out: out.double(), TypeError, r"out must .*float32, got .*float64"),
        (lambda out: out.to("meta"), ValueError, r"out must .*device.*, got meta"),
        (lambda out: out.tolist(), TypeError, "out must be a tensor, got list"),
    ],
    ids=["shape", "dtype", "device", "list"],
)
def test_out_must_fit(is_traced, change, error, message):
    arguments = valid_arguments("affine_align")
    out = change(pose2seg_ops.affine_align(**arguments))
    with torch.profiler.profile() if is_traced else torch.no_grad(), pytest.raises(error, match=message):
        pose2seg_ops.affine_align(**arguments, out=out)


def test_out_must_be_packed(backend):
    arguments = valid_arguments("affine_align", backend.device)
    out = torch.empty(3, 3, 6, 8, device=backend.device)[..., :7]
    with pytest.raises(ValueError, match=r"^out must be contiguous or channels_last, got strides \(144, 48"):
        backend.affine_align(**arguments, out=out)


def test_out_must_not_share_memory_with_an_argument(backend):
    memory = torch.rand(1, 3, 8, 8, device=backend.device)
    matrices, index = torch.eye(2, 3, device=backend.device)[None], torch.zeros(1).long().to(backend.device)
    with pytest.raises(ValueError, match=r"^out must not share memory with another argument$"):
        backend.affine_align(memory, matrices, index, (8, 8), out=memory)
    half = memory[:, :, :4].clone()
    backend.affine_align(half, matrices, index, (4, 8), out=torch.empty_like(half))


def test_masks_of_two_images_must_not_share_memory(backend):
    arguments = valid_arguments("paste_masks", backend.device) | {"image_sizes": [(9, 9), (9, 9)]}
    masks = backend.paste_masks(**arguments)
    with pytest.raises(ValueError, match=r"^out must not share memory with another argument$"):
        backend.paste_masks(**arguments, out=[masks[1][:1], masks[1]])


@pytest.mark.parametrize("count", [1, 3])
def test_there_must_be_masks_for_every_image(backend, count):
    arguments = valid_arguments("paste_masks", backend.device)
    masks = [*backend.paste_masks(**arguments), torch.empty(0)]
    with pytest.raises(ValueError, match=rf"^out must hold one tensor per image, 2, got {count}$"):
        backend.paste_masks(**arguments, out=masks[:count])


@pytest.mark.parametrize("name", ["input", "out"])
def test_out_is_refused_where_a_gradient_is_required(backend, name):
    arguments = valid_arguments("affine_align", backend.device)
    arguments["out"] = backend.affine_align(**arguments)
    arguments[name].requires_grad_()
    with pytest.raises(ValueError, match=r"^out must be None if a tensor requires a gradient$"):
        backend.affine_align(**arguments)
    with torch.no_grad():
        backend.affine_align(**arguments)


def test_a_tensor_that_is_saved_for_a_gradient_cannot_be_overwritten_unnoticed():
    arguments = valid_arguments("affine_align")
    out = torch.rand(3, 3, 6, 7)
    factor = torch.ones((), requires_grad=True)
    product = (factor * out).sum()
    with torch.no_grad():
        pose2seg_ops.affine_align(**arguments, out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_a_lazily_negated_out_gets_the_values():
    arguments = valid_arguments("affine_align")
    expected = pose2seg_ops.affine_align(**arguments)
    out = torch.zeros(expected.shape, dtype=torch.complex64).conj().imag
    assert out.is_neg()
    pose2seg_ops.affine_align(**arguments, out=out)
    assert torch.equal(out, expected)


@pytest.mark.parametrize("op", [*DIFFERENTIABLE, "letterbox"])
def test_meta_tensors_share_no_memory(op):
    arguments = valid_arguments(op, "meta")
    expected = getattr(pose2seg_ops, op)(**arguments)
    out = torch.empty_like(*tensors_of(op, expected))
    assert tensors_of(op, getattr(pose2seg_ops, op)(**arguments, out=out))[0] is out


def test_vmap_writes_to_out():
    arguments = valid_arguments("affine_align")
    matrices = torch.stack([arguments.pop("matrices")] * 2)
    expected = torch.vmap(lambda each: pose2seg_ops.affine_align(matrices=each, **arguments))(matrices)
    out = torch.zeros_like(expected)

    def call(matrices, out):
        return pose2seg_ops.affine_align(matrices=matrices, **arguments, out=out)

    assert torch.equal(torch.vmap(call)(matrices, out), expected)
    assert torch.equal(out, expected)
