import cv2
import numpy as np
import oracles
import pytest
import torch
from hypothesis import strategies as st
from strategies import generator, in_memory, many_cases, memory, seeds, sizes

from pose2seg_ops import letterbox, reference

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def matrix_of(image: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    to_origin = np.array([[1, 0, -image.shape[1] / 2], [0, 1, -image.shape[0] / 2], [0, 0, 1]])
    to_centre = np.array([[1, 0, size[1] / 2], [0, 1, size[0] / 2], [0, 0, 1]])
    return to_centre @ np.diag((scale, scale, 1)) @ to_origin


def normalised(bgr: np.ndarray) -> np.ndarray:
    return ((bgr[..., ::-1] / 255 - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [16, (16, 16), (12, 20)])
def test_equals_the_float64_oracle(implementation, size):
    images = [random_image(23, 31), random_image(40, 9, 1), random_image(5, 6, 2), random_image(1, 1, 3)]
    height, width = (size, size) if isinstance(size, int) else size
    batch, matrices = implementation.letterbox([i.to(implementation.device) for i in images], size, MEAN, STD)
    assert batch.shape == (4, 3, height, width)
    for image, output, matrix in zip(images, batch.cpu(), matrices.cpu(), strict=True):
        expected = matrix_of(image, (height, width))
        np.testing.assert_allclose(matrix, expected[:2], rtol=1e-6, atol=1e-5)
        resized = oracles.warp(image.numpy(), np.linalg.inv(expected), (height, width))
        np.testing.assert_allclose(output, normalised(resized), rtol=0, atol=2e-4)


def test_equals_the_warp_of_opencv(implementation):
    image = cv2.GaussianBlur(random_image(333, 500).numpy(), (0, 0), 3)
    batch, matrices = implementation.letterbox(
        [torch.from_numpy(image).to(implementation.device)], 128, MEAN, STD
    )
    expected = cv2.warpAffine(image, matrices[0].cpu().numpy(), (128, 128))
    # OpenCV rounds positions to 1/32 pixel and values to bytes.
    assert np.abs(batch[0].cpu().numpy() - normalised(expected)).max() < 2 / 255 / min(STD)


def test_padding_is_black_before_normalisation(implementation):
    white = torch.full((10, 20, 3), 255, dtype=torch.uint8, device=implementation.device)
    batch, _ = implementation.letterbox([white], 20, MEAN, STD)
    for channel in range(3):
        assert batch[0, channel, 0, 0].item() == pytest.approx(-MEAN[channel] / STD[channel], abs=1e-5)
        assert batch[0, channel, 10, 10].item() == pytest.approx((1 - MEAN[channel]) / STD[channel], abs=1e-5)


def test_many_strided_images(backend):
    images = [random_image(8 + i % 5, 7 + i % 3, i).to(backend.device) for i in range(100)]
    flipped = [image.flip(2).permute(1, 0, 2) for image in images]
    views = [image.permute(1, 0, 2) for image in images]
    batch, matrices = backend.letterbox(views, 8, MEAN, STD)
    expected, expected_matrices = reference.letterbox([view.contiguous() for view in views], 8, MEAN, STD)
    torch.testing.assert_close(batch, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(matrices, expected_matrices)
    swapped, _ = backend.letterbox([image[1:, :, :] for image in flipped], 8, (0, 0, 0), (1, 1, 1))
    straight, _ = backend.letterbox([view[1:] for view in views], 8, (0, 0, 0), (1, 1, 1))
    assert torch.equal(swapped, straight.flip(1))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_dtypes_and_memory_formats(implementation, dtype, memory_format):
    images = [random_image(23, 31).to(implementation.device), random_image(5, 60).to(implementation.device)]
    options = {"dtype": dtype, "memory_format": memory_format}
    batch, matrices = implementation.letterbox(images, (12, 20), MEAN, STD, **options)
    plain, plain_matrices = implementation.letterbox(images, (12, 20), MEAN, STD)
    assert batch.is_contiguous(memory_format=memory_format)
    assert torch.equal(matrices, plain_matrices)
    rounding = 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(batch.float(), plain, rtol=rounding, atol=rounding)


def test_passes_opcheck(backend):
    images = [random_image(23, 31).to(backend.device), random_image(40, 9).to(backend.device)]
    operator = backend.operators.letterbox.default
    for channels_last in (False, True):
        torch.library.opcheck(operator, (images, (12, 20), MEAN, STD, torch.bfloat16, channels_last))


def test_compiles_without_graph_breaks(backend):
    compiled = torch.compile(
        lambda images: backend.letterbox(images, 16, MEAN, STD)[0] * 2, fullgraph=True, backend="aot_eager"
    )
    for height in (20, 21, 30):
        images = [random_image(height, 31).to(backend.device), random_image(9, height).to(backend.device)]
        assert torch.equal(compiled(images), backend.letterbox(images, 16, MEAN, STD)[0] * 2)


extreme_means = st.sampled_from((0.0, -0.0, 0.5, 1e-45, 1e30, -1e30))


@many_cases(
    seed=seeds,
    shapes=st.lists(sizes(30), min_size=1, max_size=3),
    size=sizes(20),
    mean=st.tuples(*[extreme_means] * 3),
    std=st.tuples(*[st.sampled_from((1.0, 0.2, 1e-3, 1e5))] * 3),
    dtype=st.sampled_from((torch.float32, torch.float16, torch.bfloat16)),
    memory_format=st.sampled_from((torch.contiguous_format, torch.channels_last)),
    kind=memory,
)
def test_agrees_with_the_reference_on_any_images(
    backend, seed, shapes, size, mean, std, dtype, memory_format, kind
):
    random = generator(seed)
    images = [torch.randint(0, 256, (*s, 3), generator=random, dtype=torch.uint8) for s in shapes]
    strided = [in_memory(kind, image.to(backend.device)) for image in images]
    options = {"dtype": dtype, "memory_format": memory_format}
    batch, matrices = backend.letterbox(strided, size, mean, std, **options)
    expected, expected_matrices = reference.letterbox(images, size, mean, std, dtype=torch.float64)
    torch.testing.assert_close(matrices.cpu(), expected_matrices)
    # Positions are rounded in float32: a pixel of 255 may change by 1e-5 steps, and each step is 1 / std.
    # Results are rounded to the dtype; subnormal results to multiples of the smallest one.
    steps = torch.tensor(std, dtype=torch.float64)[:, None, None]
    rounding = torch.finfo(dtype).eps
    tolerance = 1e-4 / steps + 2 * rounding * expected.abs().clamp(min=torch.finfo(dtype).smallest_normal)
    wanted = expected.to(dtype).double()
    close = (batch.cpu().double() - wanted).abs() <= tolerance
    assert (close | (batch.cpu().double() == wanted)).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": []}, ValueError, "images must hold at least one image, got none"),
        ({"images": [torch.zeros(4, 4, 3)]}, TypeError, "images must be uint8, got float32"),
        ({"images": [torch.zeros(4, 4).byte()]}, ValueError, r"images must be \(H, W, 3\) each, got \(4, 4\)"),
        ({"images": [torch.zeros(4, 4, 4).byte()]}, ValueError, r"images must be \(H, W, 3\) each, got \(4, 4, 4\)"),
        ({"images": [torch.zeros(0, 4, 3).byte()]}, ValueError, "images must have a positive height and width, got 0 x 4"),
        ({"images": [random_image(4, 4).int()]}, TypeError, "images must be uint8, got int32"),
        ({"images": [random_image(4, 4), random_image(4, 4).to("meta")]}, ValueError, "images must be on cpu as the first one is, got meta"),
        ({"size": (4, -1)}, ValueError, r"size must be a positive \(height, width\), got \(4, -1\)"),
        ({"size": 0}, ValueError, r"size must be a positive \(height, width\), got \(0, 0\)"),
        ({"size": "large"}, TypeError, r"size must be \(height, width\), two integers, got 'large'"),
        ({"dtype": torch.float64}, TypeError, "dtype must be float32, float16 or bfloat16, got float64"),
        ({"memory_format": torch.preserve_format}, ValueError, "memory_format must be contiguous_format or channels_last"),
        ({"mean": (0.5, 0.5)}, ValueError, "mean and std must have 3 channels, got 2 and 3"),
        ({"mean": (0.5, torch.nan, 0.5)}, ValueError, "mean must be finite, got nan for channel 1"),
        ({"mean": (0.5, 0.5, -torch.inf)}, ValueError, "mean must be finite, got -inf for channel 2"),
        ({"mean": (1e39, 0.5, 0.5)}, ValueError, r"mean and std must give values that float32 holds, got 1e\+39 and 0.229 for channel 0"),
        ({"std": (0.2, 0.0, 0.2)}, ValueError, "std must be positive and finite, got 0 for channel 1"),
        ({"std": (0.2, torch.nan, 0.2)}, ValueError, "std must be positive and finite, got nan for channel 1"),
        ({"std": (torch.inf, 0.2, 0.2)}, ValueError, "std must be positive and finite, got inf for channel 0"),
        ({"std": (1e-320, 0.2, 0.2)}, ValueError, "mean and std must give values that float32 holds, got 0.485 and .* for channel 0"),
    ],
)  # fmt: skip
def test_bad_arguments(change, error, message):
    arguments = {"images": [random_image(4, 4)], "size": 8, "mean": MEAN, "std": STD}
    with pytest.raises(error, match=message):
        letterbox(**(arguments | change))
