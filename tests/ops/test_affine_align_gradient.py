import pytest
import torch
from test_affine_align import CONVENTIONS, similarity
from thread_count import thread_count

from pose2seg_ops import reference

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def example(batch=2, channels=5, height=8, width=9, dtype=torch.float64, device="cpu"):
    """Windows rotated, magnified, reduced, mirrored, partly and wholly outside; no point near a kink."""
    generator = torch.Generator().manual_seed(1)
    input = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    matrices = torch.tensor(
        [
            similarity(0.4137, 0.7321, (2.3171, 1.1373)),
            similarity(-2.0193, 1.9117, (5.0331, 1.3173)),
            similarity(0.7071, 0.2113, (1.0177, 2.0131)),
            [[-0.8119, 0.1313, 6.0711], [0.3137, 0.9173, -1.0371]],
            similarity(0.3, 1.0, (500.0, 0.0)),
        ],
        dtype=torch.float64 if dtype == torch.float64 else torch.float32,
    )
    batch_index = torch.tensor([0, 1, 1, 0, 1])[: len(matrices)] % batch
    return input.to(dtype).to(device), matrices.to(device), batch_index.to(device)


def gradients(op, *arguments, grad=None, **options):
    """The output and its gradients, for a gradient of the output that is random but the same for all."""
    input, matrices, batch_index, size = arguments
    input, matrices = input.detach().requires_grad_(), matrices.detach().requires_grad_()
    output = op(input, matrices, batch_index, size, **options)
    if grad is None:
        generator = torch.Generator().manual_seed(2)
        grad = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        grad = grad.to(output.dtype).to(output.device)
    return output, *torch.autograd.grad(output, (input, matrices), grad)


def tap_weights(backend, matrices, size, shape, convention):
    """(N, H W, h, w): what each input pixel gives to each output pixel, by sampling one pixel at a time."""
    pixels = torch.eye(shape[0] * shape[1], dtype=matrices.dtype).reshape(1, -1, *shape)
    index = torch.zeros(len(matrices), dtype=torch.long)
    arguments = (tensor.to(backend.device) for tensor in (pixels, matrices, index))
    return backend.affine_align(*arguments, size, convention=convention).cpu()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
def test_gradcheck(backend, convention, memory_format):
    input, matrices, batch_index = example(channels=2, height=5, width=6, device=backend.device)
    input = input.contiguous(memory_format=memory_format).requires_grad_()
    matrices.requires_grad_()

    def op(input, matrices):
        return backend.affine_align(input, matrices, batch_index, (5, 4), convention=convention)

    fast = backend.name == "emulated"  # checking all entries one by one would take half a minute
    assert torch.autograd.gradcheck(op, (input, matrices), eps=1e-7, atol=1e-5, fast_mode=fast)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("shape", [(1, 6), (5, 1), (1, 1)], ids=str)
def test_gradcheck_of_an_input_with_a_side_of_one_pixel(implementation, convention, shape):
    input, matrices, batch_index = example(1, 2, shape[0], shape[1], device=implementation.device)
    matrices = matrices[:3].clone()
    matrices[..., 2] = torch.tensor([0.3171, -0.1373])
    matrices.requires_grad_()
    input.requires_grad_()

    def op(input, matrices):
        return implementation.affine_align(input, matrices, batch_index[:3], (3, 4), convention=convention)

    assert torch.count_nonzero(op(input, matrices)) > 0
    fast = implementation.name == "emulated"
    assert torch.autograd.gradcheck(op, (input, matrices), eps=1e-7, atol=1e-5, fast_mode=fast)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)],
    ids=str,
)
@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_equals_the_autograd_of_the_reference(backend, convention, dtype, tolerance, memory_format, channels):
    input, matrices, batch_index = example(channels=channels, dtype=dtype, device=backend.device)
    input = input.contiguous(memory_format=memory_format)
    output, *actual = gradients(
        backend.affine_align, input, matrices, batch_index, (7, 10), convention=convention
    )
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    _, *expected = gradients(
        reference.affine_align,
        input.double(),
        matrices.double(),
        batch_index,
        (7, 10),
        grad=grad.to(dtype).double().to(backend.device),
        convention=convention,
    )
    assert actual[0].dtype == dtype
    assert actual[0].is_contiguous(memory_format=memory_format)
    assert actual[1].dtype == matrices.dtype
    # The gradient of the matrices is a sum of terms up to its largest entry, each rounded in float32.
    for got, want, bound in zip(actual, expected, (tolerance, min(tolerance, 1e-5)), strict=True):
        error = (got.double() - want).abs().max() / want.abs().max()
        assert error < bound


def test_the_float32_reference_agrees(backend):
    example32 = example(dtype=torch.float32, device=backend.device)
    _, *actual = gradients(backend.affine_align, *example32, (7, 10))
    _, *expected = gradients(reference.affine_align, *example32, (7, 10))
    for got, want in zip(actual, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5 * want.abs().max().item())


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[:, 1:4, 2:-1, 3:-2],
        lambda t: t[:, ::2, ::3, ::2],
        lambda t: t.transpose(2, 3),
        lambda t: t.permute(0, 2, 3, 1),
        lambda t: t[:1].expand(5, -1, -1, -1),
        lambda t: t[..., :1].expand(-1, -1, -1, 6),
        lambda t: t[:1, :1, :1, :1].expand(5, 3, 4, 6),
        torch._neg_view,
    ],
    ids=["slice", "stepped", "transposed", "permuted", "one for all", "rows", "one number", "negated"],
)
@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
def test_any_strides(backend, view, memory_format):
    generator = torch.Generator().manual_seed(3)
    grad = view(torch.randn(5, 6, 8, 10, generator=generator, dtype=torch.float64).to(backend.device))
    input, matrices, batch_index = example(batch=5, channels=grad.shape[1], device=backend.device)
    wide = torch.stack((input, input), -1)[..., 0].contiguous(memory_format=memory_format)
    for source in (wide, view(wide) if view(wide).shape[1] == grad.shape[1] else wide):
        size = tuple(grad.shape[2:])
        _, *actual = gradients(backend.affine_align, source, matrices, batch_index, size, grad=grad)
        _, *expected = gradients(
            reference.affine_align, source, matrices, batch_index, size, grad=grad.clone()
        )
        for got, want in zip(actual, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
@pytest.mark.parametrize(
    ("shape", "size", "matrix"),
    [
        ((5, 6), (40, 50), similarity(0.5, 17.3, (-20.0, 3.0))),
        ((40, 50), (4, 3), similarity(-0.5, 0.07, (1.0, 2.0))),
        ((8, 9), (8, 9), similarity(0.0, 1.0, (0.0, 0.0))),
        ((8, 9), (9, 8), [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
        ((12, 12), (30, 30), [[1.0, 1.001, -3.0], [1.0, 1.0, -4.0]]),
        ((12, 12), (30, 30), [[3.0, 2.999999, -20.0], [3.0, 3.0, -20.0]]),
        ((12, 12), (6, 6), [[1e-20, 1.0, 0.0], [1.0, -1e-20, 0.5]]),
        ((12, 12), (6, 6), [[1e4, 3.0, 0.0], [0.0, 1e-4, 2.0]]),
        ((1, 1), (4, 5), similarity(0.3, 2.0, (1.0, 1.0))),
        ((1, 7), (4, 5), similarity(0.3, 0.5, (1.0, 1.0))),
        ((7, 1), (4, 5), similarity(0.3, 0.5, (1.0, 1.0))),
        ((6, 6), (1, 1), similarity(0.3, 0.5, (-1.0, -1.0))),
    ],
    ids=[
        "magnified", "reduced", "identity", "transposed", "sheared", "nearly singular", "quarter turn", "stretched",
        "one pixel", "one row", "one column", "one output pixel",
    ],
)  # fmt: skip
def test_input_gradient_has_the_taps_of_the_output(
    backend, convention, dtype, memory_format, shape, size, matrix
):
    height, width = shape
    matrices = torch.tensor([matrix], dtype=dtype)
    weights = tap_weights(backend, matrices, size, shape, convention)[0]
    generator = torch.Generator().manual_seed(4)
    grad = torch.randn(1, 2, *size, generator=generator, dtype=dtype)
    expected = torch.einsum("chw,phw->cp", grad[0].double(), weights.double()).reshape(2, height, width)
    input = torch.zeros(1, 2, height, width, dtype=dtype).contiguous(memory_format=memory_format)
    arguments = (tensor.to(backend.device) for tensor in (input, matrices, torch.tensor([0])))
    _, actual, _ = gradients(
        backend.affine_align, *arguments, size, grad=grad.to(backend.device), convention=convention
    )
    scale = weights.double().abs().sum((1, 2)).max().item() + 1
    tolerance = (1e-12 if dtype == torch.float64 else 2e-6) * scale
    torch.testing.assert_close(actual[0].double().cpu(), expected, rtol=0, atol=tolerance)


def test_the_gradient_at_a_kink_is_that_of_the_right_and_lower_side(backend):
    input = torch.zeros(1, 1, 3, 3, dtype=torch.float64, device=backend.device)
    input[0, 0, 1] = torch.tensor([0.0, 1.0, 5.0])  # at its middle pixel: slopes 1 and 4
    input[0, 0, 2, 1] = 10.0  # and 1 and 9
    matrices = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64, device=backend.device)
    grad = torch.zeros_like(input)
    grad[0, 0, 1, 1] = 1.0
    index = torch.tensor([0], device=backend.device)
    _, _, grad_matrices = gradients(backend.affine_align, input, matrices, index, (3, 3), grad=grad)
    # Moving the matrix by d moves the point by -d (1, 1, 1) in x and in y.
    assert grad_matrices[0].tolist() == [[-4, -4, -4], [-9, -9, -9]]


@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
@pytest.mark.parametrize(
    "matrix",
    [
        [[0.0, 0, 0], [0, 0, 0]],
        [[0.1, 0.2, 1], [0.3, 0.6, 2]],
        [[torch.nan, 0, 0], [0, 1, 0]],
        [[1, 0, torch.inf], [0, 1, 0]],
        [[1, 0, 1e30], [0, 1, -1e30]],
        [[1e-38, 0, 20], [0, 1e-38, 20]],
    ],
    ids=str,
)
def test_invalid_matrices_have_zero_gradients(implementation, matrix, memory_format):
    backend = implementation
    input, matrices, batch_index = example(dtype=torch.float32, device=backend.device)
    input = input.contiguous(memory_format=memory_format)
    with_invalid = torch.cat((matrices, torch.tensor([matrix], device=backend.device)))
    index = torch.cat((batch_index, batch_index[:1]))
    for convention in CONVENTIONS:
        grad = torch.randn(6, 5, 6, 7, device=backend.device)
        _, *without = gradients(
            backend.affine_align, input, matrices, batch_index, (6, 7), grad=grad[:5], convention=convention
        )
        _, *both = gradients(
            backend.affine_align, input, with_invalid, index, (6, 7), grad=grad, convention=convention
        )
        torch.testing.assert_close(both[0], without[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(both[1][:5], without[1], rtol=1e-6, atol=1e-6)
        assert torch.count_nonzero(both[1][5]) == 0


@pytest.mark.parametrize("index", [-1, 2, 2**62, -(2**63)])
def test_an_invalid_batch_index_has_zero_gradients(implementation, index):
    input, matrices, batch_index = example(device=implementation.device)
    _, *grads = gradients(
        implementation.affine_align, input, matrices, torch.full_like(batch_index, index), (6, 7)
    )
    assert all(torch.count_nonzero(grad) == 0 for grad in grads)


@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
def test_no_instances_no_images_no_channels(backend, memory_format):
    input, matrices, batch_index = example(device=backend.device)
    input = input.contiguous(memory_format=memory_format)
    _, grad_input, grad_matrices = gradients(
        backend.affine_align, input, matrices[:0], batch_index[:0], (6, 7)
    )
    assert grad_input.is_contiguous(memory_format=memory_format)
    assert torch.count_nonzero(grad_input) == 0
    assert grad_matrices.shape == (0, 2, 3)
    for empty in (input[:0], input[:, :0]):
        _, grad_input, grad_matrices = gradients(backend.affine_align, empty, matrices, batch_index, (6, 7))
        assert grad_input.shape == empty.shape
        assert torch.count_nonzero(grad_matrices) == 0


def test_an_infinite_gradient_reaches_only_its_taps(backend):
    input = torch.zeros(1, 2, 5, 6, device=backend.device, requires_grad=True)
    matrices = torch.eye(2, 3, device=backend.device)[None]
    output = backend.affine_align(input, matrices, torch.tensor([0], device=backend.device), (5, 6))
    grad = torch.zeros_like(output)
    grad[0, 0, 2, 3] = torch.inf
    (grad_input,) = torch.autograd.grad(output, input, grad)
    assert torch.equal(grad_input, grad)


def test_more_instances_than_a_warp(backend):
    input, matrices, _ = example(channels=3, device=backend.device)
    matrices = matrices.repeat(15, 1, 1) + torch.linspace(0, 2, 75, dtype=torch.float64)[:, None, None].to(
        backend.device
    )
    batch_index = (torch.arange(75) % 2).to(backend.device)
    _, *actual = gradients(backend.affine_align, input, matrices, batch_index, (5, 4))
    _, *expected = gradients(reference.affine_align, input, matrices, batch_index, (5, 4))
    for got, want in zip(actual, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("memory_format", LAYOUTS, ids=str)
def test_the_same_bits_on_every_run_and_thread_count(backend, memory_format):
    input, matrices, batch_index = example(channels=70, height=40, width=30, dtype=torch.float32)
    input = input.contiguous(memory_format=memory_format)
    arguments = [tensor.to(backend.device) for tensor in (input, matrices, batch_index)]
    runs = []
    for count in (1, 2, 2, 3):
        with thread_count(count):
            runs.append(gradients(backend.affine_align, *arguments, (20, 23)))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))
