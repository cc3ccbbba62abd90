"""Tests of affine_align and its gradients with autograd, torch.compile and torch.export."""

import warnings

import pytest
import torch
from called_operators import CalledOperators
from test_affine_align_gradient import LAYOUTS, example, gradients
from torch._subclasses.fake_tensor import FakeTensorMode

from pose2seg_ops import _operator, affine_align, reference
from pose2seg_ops.affine_align import PLAIN_MODES


@pytest.mark.parametrize("wanted", ["input", "matrices"])
def test_only_required_gradients_are_computed(backend, wanted):
    input, matrices, batch_index = example(device=backend.device)
    {"input": input, "matrices": matrices}[wanted].requires_grad_()
    output = backend.affine_align(input, matrices, batch_index, (6, 7))
    kept = [tensor for tensor in output.grad_fn.saved_tensors if tensor is not None]
    assert any(tensor.shape == input.shape for tensor in kept) == (wanted == "matrices")
    with CalledOperators() as called:
        output.sum().backward()
    assert called.ours() == [f"affine_align_backward_{wanted}"]


@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
def test_pass_opcheck(backend, memory_format):
    input, matrices, batch_index = example(device=backend.device)
    input = input.contiguous(memory_format=memory_format)
    grad = torch.randn_like(backend.affine_align(input, matrices, batch_index, (6, 5)))
    last = memory_format == torch.channels_last
    torch.library.opcheck(
        backend.operators.affine_align.default,
        (
            input.clone().requires_grad_(),
            matrices.clone().requires_grad_(),
            batch_index,
            (6, 5),
            "integer",
            *PLAIN_MODES,
        ),
    )
    torch.library.opcheck(
        backend.operators.affine_align_backward_input.default,
        (
            grad.clone().requires_grad_(),
            matrices.clone().requires_grad_(),
            batch_index,
            input.shape,
            last,
            "half_pixel",
            *PLAIN_MODES,
        ),
    )
    torch.library.opcheck(
        backend.operators.affine_align_backward_matrices.default,
        (
            *(tensor.clone().requires_grad_() for tensor in (grad, input, matrices)),
            batch_index,
            "pose2seg",
            *PLAIN_MODES,
        ),
    )


@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
@pytest.mark.parametrize("wanted", [(True, False), (False, True), (True, True)], ids=str)
def test_compiles_without_graph_breaks_with_gradients(backend, wanted, memory_format):
    def loss(*arguments):
        return (backend.affine_align(*arguments, (6, 5)) ** 2).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=True)
    for count in (2, 3, 5):
        input, matrices, batch_index = example(device=backend.device)
        input = input.contiguous(memory_format=memory_format).requires_grad_(wanted[0])
        arguments = input, matrices[:count].requires_grad_(wanted[1]), batch_index[:count]
        leaves = [tensor for tensor, want in zip(arguments[:2], wanted, strict=True) if want]
        actual = torch.autograd.grad(compiled(*arguments), leaves)
        for got, want in zip(actual, torch.autograd.grad(loss(*arguments), leaves), strict=True):
            torch.testing.assert_close(got, want)


def test_exports_for_any_number_of_instances(backend):
    class Model(torch.nn.Module):
        def forward(self, input, matrices, batch_index):
            return backend.affine_align(input, matrices, batch_index, (6, 5))

    input, matrices, batch_index = example(device=backend.device)
    instances = torch.export.Dim("instances", max=1000)
    shapes = (None, {0: instances}, {0: instances})
    for strict in (True, False):
        program = torch.export.export(
            Model(), (input, matrices, batch_index), dynamic_shapes=shapes, strict=strict
        )
        for count in (2, 5):
            arguments = input, matrices[:count], batch_index[:count]
            torch.testing.assert_close(program.module()(*arguments), backend.affine_align(*arguments, (6, 5)))


@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
def test_fake_and_meta_tensors_have_the_right_shapes(memory_format):
    arguments = example(dtype=torch.float16)
    arguments = arguments[0].contiguous(memory_format=memory_format), *arguments[1:]
    expected = gradients(affine_align, *arguments, (6, 7))
    mode = FakeTensorMode()
    for stand_ins in ([mode.from_tensor(a) for a in arguments], [a.to("meta") for a in arguments]):
        input, matrices, batch_index = stand_ins
        input.requires_grad_(), matrices.requires_grad_()
        output = affine_align(input, matrices, batch_index, (6, 7))
        actual = output, *torch.autograd.grad(output.sum(), (input, matrices))
        for got, want in zip(actual, expected, strict=True):
            assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())


def test_another_device_runs_the_reference_and_warns_once(monkeypatch):
    input, matrices, batch_index = example()
    expected = gradients(reference.affine_align, input, matrices, batch_index, (6, 7))
    monkeypatch.setattr(_operator, "_has_kernels", lambda tensor: False)
    _operator._warn_about.cache_clear()
    with pytest.warns(UserWarning, match="kernels for cpu and cuda, not for cpu"):
        actual = gradients(affine_align, input, matrices, batch_index, (6, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradients(affine_align, input, matrices, batch_index, (6, 7))
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grad": torch.zeros(5, 4, 4)}, ValueError, r"grad must be \(N, C, h, w\), got \(5, 4, 4\)"),
        ({"matrices": torch.zeros(4, 2, 3)}, ValueError, r"matrices must be \(N, 2, 3\) or \(N, 3, 3\), N as in grad, got \(4, 2, 3\)"),
        ({"matrices": torch.zeros(5, 2, 3).double()}, TypeError, "matrices must be float32 with float32 grad, got float64"),
        ({"batch_index": torch.zeros(5)}, TypeError, "batch_index must be int64, got float32"),
        ({"convention": "corners"}, ValueError, "convention must be 'integer', .* got 'corners'"),
        ({"input": torch.zeros(2, 4, 8, 9)}, ValueError, r"input must be \(B, C, H, W\), C as in grad, got \(2, 4, 8, 9\)"),
        ({"input": torch.zeros(2, 5, 8, 9).half()}, TypeError, "input must be float32 as grad is, got float16"),
        ({"input_size": (2, 4, 8, 9)}, ValueError, r"input_size must be \(B, C, H, W\), C as in grad, got \(2, 4, 8, 9\)"),
    ],
)  # fmt: skip
def test_bad_arguments_of_the_gradients(change, error, message):
    input, matrices, batch_index = example(dtype=torch.float32)
    common = {
        "grad": torch.zeros(5, 5, 4, 4),
        "matrices": matrices,
        "batch_index": batch_index,
        "convention": "integer",
        **dict(zip(("sampling_ratio", "interpolation", "padding_mode", "fill"), PLAIN_MODES, strict=True)),
    }
    operators = torch.ops.pose2seg_ops
    if "input" not in change:
        arguments = common | {"input_size": (2, 5, 8, 9), "channels_last": False} | change
        with pytest.raises(error, match=message):
            operators.affine_align_backward_input(**arguments)
    if "input_size" not in change:
        with pytest.raises(error, match=message):
            operators.affine_align_backward_matrices(**(common | {"input": input} | change))
