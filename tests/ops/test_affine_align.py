import cv2
import numpy as np
import oracles
import pytest
import torch
from golden import load_golden

from pose2seg_ops import affine_align, reference
from pose2seg_ops.affine_align import PLAIN_MODES

CONVENTIONS = ("integer", "half_pixel", "pose2seg")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> list[list[float]]:
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    return [[a, b, shift[0]], [-b, a, shift[1]]]


def example(batch=2, channels=5, height=12, width=17, dtype=torch.float64, device="cpu"):
    """Returns a few windows: rotated, magnified, mirrored, partly and wholly outside."""
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    matrices = torch.tensor(
        [
            similarity(0.0, 1.0, (0.0, 0.0)),
            similarity(0.4, 0.7, (2.3, 1.1)),
            similarity(-2.0, 1.9, (5.0, -3.0)),
            [[-0.8, 0.1, 11.0], [0.3, 0.9, -1.0]],
            similarity(0.3, 1.0, (9.0, 9.0)),
            similarity(0.0, 1.0, (500.0, 0.0)),
        ],
        dtype=torch.float64 if dtype == torch.float64 else torch.float32,
    )
    batch_index = torch.arange(len(matrices)) % batch
    return input.to(dtype).to(device), matrices.to(device), batch_index.to(device)


def oracle(input, matrices, batch_index, size, convention):
    images = input.double().cpu().numpy()
    expected = [
        oracles.affine_align(images[b], m, size, convention)
        for m, b in zip(matrices.cpu().numpy(), batch_index.cpu().tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(expected))


# The original rounds as well: for the tiny scale, its float32 half-pixel output differs by 1.5e-4 from
# float64.
ILL_CONDITIONED = {
    "pose2seg": ("near singular", "singular (zero scale)"),
    "half_pixel": ("near singular", "singular (zero scale)", "tiny scale"),
}


@pytest.mark.parametrize("name", ["affine_small", "affine_nonsquare"])
@pytest.mark.parametrize(
    ("convention", "key"), [("pose2seg", "out_trained"), ("half_pixel", "out_torch213_ac_false")]
)
def test_equals_the_original(implementation, name, convention, key):
    data = load_golden(f"{name}.npz")
    compared = ~np.isin(data["names"], ILL_CONDITIONED[convention])
    assert compared.sum() == 32 - len(ILL_CONDITIONED[convention])
    features, matrices = torch.from_numpy(data["features"]), torch.from_numpy(data["Hs"][:, :2])
    batch_index = torch.from_numpy(data["idxs"].astype(np.int64))
    arguments = (tensor.to(implementation.device) for tensor in (features, matrices, batch_index))
    output = implementation.affine_align(*arguments, tuple(data["align_size"]), convention=convention)
    assert np.abs(output.cpu().numpy() - data[key])[compared].max() <= 1e-4


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_equals_the_float64_oracle(implementation, convention, dtype, memory_format):
    input, matrices, batch_index = example(dtype=dtype, device=implementation.device)
    input = input.contiguous(memory_format=memory_format)
    output = implementation.affine_align(input, matrices, batch_index, (9, 7), convention=convention)
    assert output.dtype == dtype
    expected = oracle(input, matrices, batch_index, (9, 7), convention)
    torch.testing.assert_close(output.double().cpu(), expected, rtol=0, atol=TOLERANCE[dtype])


def test_the_lazy_negation_bit_is_resolved(backend):
    input, matrices, batch_index = (tensor.to(backend.device) for tensor in example())
    views = torch._neg_view(-input), torch._neg_view(-matrices)
    assert views[0].is_neg()
    expected = backend.affine_align(input, matrices, batch_index, (9, 7))
    assert torch.equal(backend.affine_align(*views, batch_index, (9, 7)), expected)


def test_integer_convention_is_that_of_opencv(implementation):
    input, matrices, batch_index = example(
        dtype=torch.float32, height=40, width=60, device=implementation.device
    )
    output = implementation.affine_align(input, matrices, batch_index, (32, 48))
    for window, matrix, image in zip(output.cpu(), matrices.cpu(), input[batch_index].cpu(), strict=True):
        expected = cv2.warpAffine(image.permute(1, 2, 0).numpy(), matrix.numpy(), (48, 32))
        # OpenCV rounds positions to 1/32 pixel.
        assert np.abs(window.permute(1, 2, 0).numpy() - expected).max() < 5 * 2 / 32


def test_memory_format_follows_the_input(backend):
    input, matrices, batch_index = example(device=backend.device)
    channels_last = input.contiguous(memory_format=torch.channels_last)
    plain = backend.affine_align(input, matrices, batch_index, (8, 8))
    strided = backend.affine_align(channels_last, matrices, batch_index, (8, 8))
    assert plain.is_contiguous()
    assert strided.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, strided)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[:, 1:4, 2:-1, 3:-2],
        lambda t: t[::1, ::2, ::3, ::2],
        lambda t: t.transpose(2, 3),
        lambda t: t[:1].expand(2, -1, -1, -1),
        lambda t: t[:, :1],
        lambda t: t[:, :, :1, :1],
        lambda t: t[..., :1],
    ],
    ids=["slice", "stepped", "transposed", "expanded", "one channel", "one pixel", "one column"],
)
def test_any_strides(backend, view):
    input, matrices, batch_index = example(device=backend.device)
    viewed = view(input)
    strided_matrices = torch.stack((matrices, matrices), -1)[..., 0]
    strided_index = torch.stack((batch_index, batch_index), 1)[:, 0]
    for convention in CONVENTIONS:
        output = backend.affine_align(viewed, strided_matrices, strided_index, (6, 5), convention=convention)
        expected = reference.affine_align(
            viewed.contiguous(), matrices, batch_index, (6, 5), convention=convention
        )
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3, 8, 16, 24, 72, 129, 264, 520])
def test_any_number_of_channels(backend, channels, dtype):
    input, matrices, batch_index = example(channels=channels, dtype=dtype, device=backend.device)
    expected = reference.affine_align(input, matrices, batch_index, (11, 18))
    channels_last = input.contiguous(memory_format=torch.channels_last)
    padded = torch.cat((channels_last, channels_last), 1).contiguous(memory_format=torch.channels_last)
    unaligned = padded[:, 1 : channels + 1]
    for view in (input, channels_last, padded[:, :channels]):
        output = backend.affine_align(view, matrices, batch_index, (11, 18))
        torch.testing.assert_close(output, expected, rtol=0, atol=TOLERANCE[dtype])
    output = backend.affine_align(unaligned, matrices, batch_index, (11, 18))
    rolled = torch.cat((expected[:, 1:], expected[:, :1]), 1)
    torch.testing.assert_close(output, rolled, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_taps_outside_count_as_zero_for_infinite_features(backend, memory_format):
    input = torch.full((1, 8, 6, 7), torch.inf, device=backend.device).contiguous(memory_format=memory_format)
    matrices = torch.tensor([[[1.0, 0, 1.5], [0, 1, 2.25]]], device=backend.device)
    output = backend.affine_align(input, matrices, torch.tensor([0], device=backend.device), (16, 20))
    expected = torch.zeros(1, 8, 16, 20)
    expected[:, :, 2:9, 1:9] = torch.inf  # not NaN, which zero times infinity would give
    assert torch.equal(output.cpu(), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_nothing_around_the_input_is_read(backend, memory_format):
    input, matrices, batch_index = example(dtype=torch.float32, device=backend.device)
    surrounded = torch.full((2, 5, 16, 21), torch.nan, device=backend.device)
    surrounded = surrounded.contiguous(memory_format=memory_format)
    surrounded[:, :, 2:-2, 2:-2] = input
    output = backend.affine_align(surrounded[:, :, 2:-2, 2:-2], matrices, batch_index, (40, 40))
    assert torch.equal(output, backend.affine_align(input, matrices, batch_index, (40, 40)))


@pytest.mark.parametrize("channels_innermost", [False, True], ids=["contiguous", "channels_last"])
def test_more_elements_than_32_bits_count(backend, tmp_path, channels_innermost):
    """Samples two channels of 32768 x 40000 halves in a sparse file: only the pages that are read exist."""
    if backend.device.type != "cpu":
        pytest.skip("a sparse file lies in host memory")
    height, width = 32768, 40000
    storage = torch.from_file(
        str(tmp_path / "features"), shared=True, size=2 * height * width, dtype=torch.float16
    )
    shape = (1, height, width, 2) if channels_innermost else (1, 2, height, width)
    input = storage.view(shape).permute(0, 3, 1, 2) if channels_innermost else storage.view(shape)
    corner = torch.arange(2 * 6 * 6).view(2, 6, 6).half()
    input[0, :, -6:, -6:] = corner
    matrices = torch.tensor([[[1.0, 0, 6 - width], [0, 1, 6 - height]]])
    output = backend.affine_align(input, matrices, torch.tensor([0]), (9, 9))
    assert torch.equal(output[0, :, :6, :6], corner)
    assert torch.count_nonzero(output[0, :, 6:]) == torch.count_nonzero(output[0, :, :, 6:]) == 0


@pytest.mark.parametrize(
    "matrix",
    [
        [[0.0, 0, 0], [0, 0, 0]],
        [[0.1, 0.2, 1], [0.3, 0.6, 2]],
        [[torch.nan, 0, 0], [0, 1, 0]],
        [[1, 0, torch.nan], [0, 1, 0]],
        [[torch.inf, 0, 0], [0, 1, 0]],
        [[1, 0, torch.inf], [0, 1, 0]],
        [[1, 0, 1e30], [0, 1, -1e30]],
        [[1e-38, 0, 20], [0, 1e-38, 20]],
    ],
    ids=str,
)
def test_invalid_matrices_give_zeros(implementation, matrix):
    input = torch.randn(1, 3, 8, 8, device=implementation.device) + 10
    matrices = torch.tensor([matrix], device=implementation.device)
    index = torch.tensor([0], device=implementation.device)
    for convention in CONVENTIONS:
        output = implementation.affine_align(input, matrices, index, (4, 4), convention=convention)
        assert torch.count_nonzero(output) == 0


@pytest.mark.parametrize("scale", [1e100, 1e160, 1e300])
def test_float64_matrices_of_any_size(implementation, scale):
    """Tests a window so large that it shows a single point, and one so small that the point is its first
    pixel."""
    input = torch.randn(1, 2, 7, 8, dtype=torch.float64, device=implementation.device)
    matrix = torch.tensor(similarity(0.4137, 0.7321, (0.0, 0.0)), dtype=torch.float64)
    matrix[:, 2] = -matrix[:, :2] @ torch.tensor([3.3, 2.4], dtype=torch.float64)  # (0, 0) is at (3.3, 2.4)
    factors = [[scale, scale], [1 / scale, 1 / scale], [scale, 1 / scale], [1 / scale, scale]]
    matrices = (matrix * torch.tensor(factors, dtype=torch.float64)[..., None]).to(implementation.device)
    index = torch.zeros(4, dtype=torch.long, device=implementation.device)
    output = implementation.affine_align(input, matrices, index, (3, 4))
    point = torch.from_numpy(oracles.sample(input[0].permute(1, 2, 0).cpu().numpy(), 3.3, 2.4))
    shown = torch.zeros(4, 3, 4, dtype=torch.bool)
    shown[0], shown[1, 0, 0], shown[2, 0], shown[3, :, 0] = True, True, True, True
    expected = torch.where(shown[:, None], point[:, None, None], 0.0)
    torch.testing.assert_close(output.cpu(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("index", [-1, 2, 2**62, -(2**63)])
def test_an_invalid_batch_index_gives_zeros(implementation, index):
    input, matrices, _ = example(device=implementation.device)
    batch_index = torch.full((len(matrices),), index, device=implementation.device)
    output = implementation.affine_align(input, matrices, batch_index, (4, 4))
    assert torch.count_nonzero(output) == 0


def test_no_instances(implementation):
    input, matrices, batch_index = example(device=implementation.device)
    output = implementation.affine_align(input, matrices[:0], batch_index[:0], (4, 3))
    assert output.shape == (0, 5, 4, 3)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_passes_opcheck(backend, memory_format):
    input, matrices, batch_index = example(device=backend.device)
    input = input.contiguous(memory_format=memory_format)
    torch.library.opcheck(
        backend.operators.affine_align.default,
        (input, matrices, batch_index, (6, 5), "integer", *PLAIN_MODES),
    )


def test_compiles_without_graph_breaks_for_any_number_of_instances(backend):
    compiled = torch.compile(
        lambda *arguments: backend.affine_align(*arguments, (6, 5)) * 2, fullgraph=True, backend="aot_eager"
    )
    for count in (2, 3, 5, 6):
        input, matrices, batch_index = example(device=backend.device)
        arguments = input, matrices[:count], batch_index[:count]
        torch.testing.assert_close(compiled(*arguments), backend.affine_align(*arguments, (6, 5)) * 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": torch.zeros(5, 12, 17)}, ValueError, r"input must be \(B, C, H, W\), got \(5, 12, 17\)"),
        ({"input": torch.zeros(2, 5, 12, 17).long()}, TypeError, "input must be float32, .* got int64"),
        ({"input": torch.zeros(2, 5, 0, 17)}, ValueError, "input must have a positive height and width, got 0 x 17"),
        ({"matrices": torch.zeros(5, 4, 3)}, ValueError, r"matrices must be \(N, 2, 3\) or \(N, 3, 3\), got \(5, 4, 3\)"),
        ({"matrices": torch.zeros(2, 3)}, ValueError, r"matrices must be \(N, 2, 3\) or \(N, 3, 3\), got \(2, 3\)"),
        ({"matrices": torch.zeros(6, 2, 3).double()}, TypeError, "matrices must be float32 with float32 input, got float64"),
        ({"matrices": torch.zeros(6, 2, 3).half()}, TypeError, "matrices must be float32 with float32 input, got float16"),
        ({"matrices": torch.zeros(6, 2, 3, device="meta")}, ValueError, "matrices must be on cpu as input is, got meta"),
        ({"batch_index": torch.zeros(5).long()}, ValueError, r"batch_index must be \(6,\), .* got \(5,\)"),
        ({"batch_index": torch.zeros(6)}, TypeError, "batch_index must be int64, got float32"),
        ({"batch_index": torch.zeros(6, 1).long()}, ValueError, r"batch_index must be \(6,\), .* got \(6, 1\)"),
        ({"batch_index": torch.zeros(6, device="meta").long()}, ValueError, "batch_index must be on cpu as input is, got meta"),
        ({"output_size": (0, 3)}, ValueError, r"output_size must be a positive \(height, width\), got \(0, 3\)"),
        ({"output_size": (3, -1)}, ValueError, r"output_size must be a positive \(height, width\), got \(3, -1\)"),
        ({"output_size": (3,)}, TypeError, r"output_size must be \(height, width\), two integers, got \(3,\)"),
        ({"output_size": 64}, TypeError, r"output_size must be \(height, width\), two integers, got 64"),
        ({"convention": "corners"}, ValueError, "convention must be 'integer', .* got 'corners'"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, message):
    input, matrices, batch_index = example(dtype=torch.float32)
    arguments = {"input": input, "matrices": matrices, "batch_index": batch_index, "output_size": (4, 4)}
    with pytest.raises(error, match=message):
        affine_align(**(arguments | change))
