"""Property tests of affine_align and its gradients on arbitrary shapes, strides, matrices and indices."""

import torch
from hypothesis import strategies as st
from strategies import (
    conventions,
    generator,
    in_memory,
    indices,
    many_cases,
    memory,
    put,
    seeds,
    sizes,
    spikes,
)

from pose2seg_ops import reference
from pose2seg_ops.reference.affine_align import _sampling_matrices
from pose2seg_ops.reference.sampling import affine_coordinates, inverse

DTYPES = st.sampled_from((torch.float64, torch.float64, torch.float32, torch.float16, torch.bfloat16))
DRAWN = {
    "seed": seeds,
    "shape": st.tuples(st.integers(1, 3), *[st.integers(1, 7)] * 2),
    "size": sizes(8),
    "spiked": spikes(),
    "index": st.tuples(indices, indices),
    "convention": conventions,
    "kind": memory,
}


def example(backend, seed, shape, spiked, index, dtype):
    """Returns two instances in two images, and an output gradient."""
    random = generator(seed)
    geometry = torch.float64 if dtype == torch.float64 else torch.float32
    input = torch.randn(2, *shape, generator=random, dtype=torch.float64)
    matrices = 2 * torch.randn(2, 2, 3, generator=random, dtype=torch.float64)
    matrices[..., 2] += 3
    matrices = put(spiked, matrices.to(geometry))
    tensors = input.to(dtype), matrices, torch.tensor(index)
    return [tensor.to(backend.device) for tensor in tensors]


def rounding(matrices, size, shape, convention):
    """Returns a generous bound on how far float32 rounding may move the sampling points of each instance, in
    pixels."""
    a, b, d, e = matrices[..., :2].double().flatten(1).unbind(1)
    cancelled = (a * e).abs() + (b * d).abs()
    to_input = inverse(matrices.double()).abs()
    reach = matrices[..., 2].double().abs().amax(1) + max(size) + 1
    largest = to_input[..., :2].amax((1, 2)) * reach + to_input[..., 2].amax(1) + max(shape)
    return 1e-6 * largest * cancelled / (a * e - b * d).abs()


def is_known(matrices, batch_index):
    """Whether each instance can be sampled."""
    invertible = inverse(matrices.double()).isfinite().all(-1).all(-1)
    return invertible & matrices.isfinite().all(-1).all(-1) & (batch_index >= 0) & (batch_index < 2)


@many_cases(**DRAWN, dtype=DTYPES)
def test_forward(backend, seed, shape, size, spiked, index, convention, kind, dtype):
    input, matrices, batch_index = example(backend, seed, shape, spiked, index, dtype)
    output = backend.affine_align(in_memory(kind, input), matrices, batch_index, size, convention=convention)
    assert output.isfinite().all()
    largest = input.double().abs().amax()
    assert (output.double().abs() <= largest * (1 + 1e-2)).all()  # a mean of pixels, weighted by at most 1
    known = is_known(matrices, batch_index)
    assert torch.count_nonzero(output[~known]) == 0
    moved = rounding(matrices, size, shape[1:], convention) * (1e-8 if dtype == torch.float64 else 1)
    exact = known & (moved < 1e-2)
    expected = reference.affine_align(
        input.double(), matrices.double(), batch_index.clamp(0, 1), size, convention=convention
    )
    tolerance = 4 * largest * (moved + torch.finfo(dtype).eps)
    wrong = (output.double() - expected).abs() > tolerance[:, None, None, None]
    assert not wrong[exact].any()


@many_cases(**DRAWN, dtype=DTYPES, grad_kind=memory)
def test_input_gradient_is_the_transpose(
    backend, seed, shape, size, spiked, index, convention, kind, dtype, grad_kind
):
    """Each output pixel gives its gradient back to the pixels that it was made of, with the same weights."""
    input, matrices, batch_index = example(backend, seed, shape, spiked, index, dtype)
    pixels = torch.eye(shape[1] * shape[2], dtype=matrices.dtype, device=backend.device)
    pixels = pixels.reshape(1, -1, *shape[1:]).expand(2, -1, -1, -1)
    weights = backend.affine_align(pixels, matrices, batch_index, size, convention=convention).double()
    input = in_memory(kind, input).requires_grad_()
    output = backend.affine_align(input, matrices, batch_index, size, convention=convention)
    grad = torch.randn(output.shape, generator=generator(seed), dtype=torch.float64).to(output)
    (actual,) = torch.autograd.grad(output, input, in_memory(grad_kind, grad))
    expected = torch.zeros_like(input, dtype=torch.float64).flatten(2)
    for instance, image in enumerate(index):
        if image in (0, 1):
            given = torch.einsum("chw,phw->cp", grad[instance].double(), weights[instance])
            expected[image] += given
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 4 * torch.finfo(dtype).eps)
    torch.testing.assert_close(
        actual.double(), expected.reshape(input.shape), rtol=tolerance, atol=tolerance * 10
    )


@many_cases(**DRAWN, dtype=st.sampled_from((torch.float64, torch.float64, torch.float32)))
def test_matrix_gradient(backend, seed, shape, size, spiked, index, convention, kind, dtype):
    """That of the reference, where no point lies on a row or column of pixels, and always finite."""
    input, matrices, batch_index = example(backend, seed, shape, spiked, index, dtype)
    arguments = in_memory(kind, input), matrices.requires_grad_(), batch_index, size
    output = backend.affine_align(*arguments, convention=convention)
    grad = torch.randn(output.shape, generator=generator(seed), dtype=torch.float64).to(output)
    (actual,) = torch.autograd.grad(output, matrices, grad)
    matrices = matrices.detach()
    known = is_known(matrices, batch_index)
    assert torch.count_nonzero(actual[~known]) == 0
    if dtype != torch.float64:
        return
    exact = matrices.clone().requires_grad_()
    expected_output = reference.affine_align(
        input, exact, batch_index.clamp(0, 1), size, convention=convention
    )
    (expected,) = torch.autograd.grad(expected_output, exact, grad)
    assert torch.count_nonzero(expected[~known & (batch_index >= 0) & (batch_index < 2)]) == 0
    to_input = _sampling_matrices(inverse(matrices), convention, *shape[1:])
    points = torch.stack(affine_coordinates(to_input, size), -1)
    smooth = ((points - points.round()).abs() > 1e-6).flatten(1).all(1)
    moved = 1e-8 * rounding(matrices, size, shape[1:], convention)
    compared = known & smooth & (moved < 1e-8) & (expected.abs().amax((1, 2)) < 1e6)
    torch.testing.assert_close(actual[compared], expected[compared], rtol=1e-6, atol=1e-6)
