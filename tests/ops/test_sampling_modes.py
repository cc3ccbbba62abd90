"""Tests of affine_align's modes: pooling, interpolation, padding and projective maps."""

import math
import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pose2seg_ops import affine_align, reference

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
PADDINGS = ("zeros", "fill", "border", "reflection", "roi_align")
LAYOUTS = (torch.contiguous_format, torch.channels_last)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5, torch.float16: 1e-2, torch.bfloat16: 6e-2}
SIZE = (6, 9)


def example(
    rows: int = 2, dtype: torch.dtype = torch.float64, channels: int = 3
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns maps, and windows that are rotated, magnified, reduced and partly outside; the last has no image."""
    torch.manual_seed(rows)
    maps = torch.randn(2, channels, 13, 17, dtype=torch.float64).to(dtype)
    of_matrices = torch.float64 if dtype == torch.float64 else torch.float32
    matrices = torch.eye(rows, 3, dtype=of_matrices).repeat(6, 1, 1)
    matrices += 0.3 * torch.randn(6, rows, 3, dtype=of_matrices)
    matrices[:, :2, 2] += 3 * torch.randn(6, 2, dtype=of_matrices)
    matrices[1, :2] *= 0.3
    if rows == 3:
        matrices[:, 2] = (
            torch.tensor([0.01, -0.02, 1]) * torch.linspace(-1.2, 1.4, 6)[:, None]
        )  # also below 0
    return maps, matrices, torch.tensor([0, 1, 1, 0, 1, 2])


def points(matrix: Tensor, ratio: int, convention: str) -> tuple[Tensor, Tensor, Tensor]:
    """Returns x, y and the distance from the horizon of every sample of a window, from the definitions."""
    m = torch.eye(3, dtype=torch.float64)
    m[: matrix.shape[0]] = matrix.double()
    if convention != "inverse":
        m = torch.linalg.inv(m)
    shift = 0.5 if convention == "half_pixel" else 0
    rows, columns = ((torch.arange(n * ratio).double() + 0.5) / ratio - 0.5 for n in SIZE)
    grid = torch.stack(
        torch.meshgrid(columns + shift, rows + shift, torch.ones(1).double(), indexing="xy"), -1
    )
    x, y, w = (grid.reshape(*grid.shape[:2], 3) @ m.T).unbind(-1)
    centre = m[2] @ torch.tensor([(SIZE[1] - 1) / 2 + shift, (SIZE[0] - 1) / 2 + shift, 1]).double()
    x, y = x / w - shift, y / w - shift
    return x, y, w / centre


def oracle(
    maps: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    ratio: int,
    interpolation: str,
    padding: str,
    convention: str,
    fill: float,
) -> Tensor:
    """Samples by grid_sample at the points of the definitions, in float64."""
    height, width = maps.shape[-2:]
    windows = []
    for matrix, image in zip(matrices, batch_index.tolist(), strict=True):
        if image >= len(maps):
            windows.append(maps.new_zeros(maps.shape[1], *SIZE, dtype=torch.float64))
            continue
        x, y, w = points(matrix, ratio, convention)
        is_there = w > 0
        if padding == "roi_align":
            is_there &= (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
        grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)
        mode = {"fill": "zeros", "roi_align": "border"}.get(padding, padding)
        options: dict[str, Any] = {"mode": interpolation, "padding_mode": mode, "align_corners": False}
        sampled = F.grid_sample(maps[image, None].double() - fill, grid[None], **options)[0]
        window = torch.where(is_there, sampled, 0) + fill
        windows.append(F.avg_pool2d(window, ratio))
    return torch.stack(windows)


def modes(interpolation: str, padding: str, ratio: int) -> dict[str, Any]:
    fill = {"fill": 0.7} if padding == "fill" else {}
    return {"interpolation": interpolation, "padding_mode": padding, "sampling_ratio": ratio, **fill}


@pytest.mark.parametrize("rows", [2, 3], ids=["affine", "projective"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_equals_grid_sample_at_the_points_of_the_definition(implementation, interpolation, padding, rows):
    # Near the horizon, points are up to 50,000 pixels outside, where positions are known to fewer digits.
    maps, matrices, batch_index = (t.to(implementation.device) for t in example(rows))
    for convention in ("integer", "half_pixel", "inverse"):
        for ratio in (1, 2, 3):
            kwargs = modes(interpolation, padding, ratio)
            expected = oracle(
                maps.cpu(), matrices.cpu(), batch_index.cpu(), ratio, interpolation, padding, convention,
                float(kwargs.get("fill", 0)),
            )  # fmt: skip
            for layout in LAYOUTS:
                given = maps.contiguous(memory_format=layout)
                output = implementation.affine_align(
                    given, matrices, batch_index, SIZE, convention=convention, **kwargs
                )
                assert output.is_contiguous(memory_format=layout) or implementation.name == "reference"
                torch.testing.assert_close(output.cpu(), expected, rtol=0, atol=1e-11 if rows == 2 else 1e-9)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("channels", [1, 16, 33])
def test_dtypes_and_numbers_of_channels(backend, dtype, layout, channels):
    maps, matrices, batch_index = example(3, dtype, channels)
    matrices[:, 2, :2] *= 0.1  # points far away have rounded positions
    given = [t.to(backend.device) for t in (maps.contiguous(memory_format=layout), matrices, batch_index)]
    for interpolation, padding in (("bilinear", "border"), ("bicubic", "fill")):
        kwargs = modes(interpolation, padding, 2)
        output = backend.affine_align(*given, SIZE, **kwargs)
        assert output.dtype == dtype
        expected = reference.affine_align(maps.double(), matrices.double(), batch_index, SIZE, **kwargs)
        error = (output.cpu().double() - expected).abs() / (1 + expected.abs())
        assert error.max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("rows", [2, 3], ids=["affine", "projective"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("ratio", [0, 2])
def test_gradients_equal_those_of_the_reference(backend, interpolation, padding, rows, ratio):
    maps, matrices, batch_index = example(rows)
    grad = torch.randn(6, 3, *SIZE, dtype=torch.float64)
    for convention in ("integer", "half_pixel", "pose2seg", "inverse"):
        kwargs = {**modes(interpolation, padding, ratio), "convention": convention}
        leaves = [maps.clone().requires_grad_(), matrices.clone().requires_grad_()]
        expected = torch.autograd.grad(
            reference.affine_align(leaves[0], leaves[1], batch_index, SIZE, **kwargs), leaves, grad
        )
        leaves = [t.detach().to(backend.device).requires_grad_() for t in leaves]
        output = backend.affine_align(*leaves, batch_index.to(backend.device), SIZE, **kwargs)
        for ours, theirs in zip(
            torch.autograd.grad(output, leaves, grad.to(backend.device)), expected, strict=True
        ):
            torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_of_layouts_and_dtypes(backend, dtype, layout):
    maps, matrices, batch_index = example(2, dtype, channels=40)
    grad = torch.randn(6, 40, *SIZE).to(dtype)
    kwargs = modes("bilinear", "reflection", 2)
    leaves = [maps.double().requires_grad_(), matrices.double().requires_grad_()]
    expected = torch.autograd.grad(
        reference.affine_align(leaves[0], leaves[1], batch_index, SIZE, **kwargs), leaves, grad.double()
    )
    given = maps.contiguous(memory_format=layout).to(backend.device).requires_grad_()
    of_matrices = matrices.to(backend.device).requires_grad_()
    output = backend.affine_align(given, of_matrices, batch_index.to(backend.device), SIZE, **kwargs)
    found = torch.autograd.grad(output, (given, of_matrices), grad.to(backend.device))
    assert found[0].is_contiguous(memory_format=layout)
    for ours, theirs, tolerance in zip(
        found, expected, ({torch.float32: 1e-5, torch.bfloat16: 8e-3}[dtype], 1e-4), strict=True
    ):
        assert (ours.cpu().double() - theirs).abs().max() <= tolerance * theirs.abs().max()


def test_gradients_by_finite_differences(backend):
    """The points of this seed are not on rows or columns of pixels."""
    maps, matrices, batch_index = example(3, channels=2)
    given = [maps[:, :, :5, :6].clone().requires_grad_(), matrices[:2].clone().requires_grad_()]
    for interpolation, padding in (("bilinear", "reflection"), ("bicubic", "fill"), ("bilinear", "border")):
        kwargs = modes(interpolation, padding, 2)

        assert torch.autograd.gradcheck(
            lambda *of, kwargs=kwargs: backend.affine_align(*of, batch_index[:2], (2, 3), **kwargs), given
        )


def test_the_adaptive_ratio_is_that_of_roi_align(backend):
    """A window of 3 x 2 pixels of a box of 10 x 5 has ceil(10 / 3) samples across a pixel and ceil(5 / 2) down."""
    maps, _, _ = example()
    matrices = torch.tensor([[[10 / 3, 0, 1.5], [0, 5 / 2, 2.5]]], dtype=torch.float64)
    index = torch.zeros(1, dtype=torch.int64)
    given = [t.to(backend.device) for t in (maps, matrices, index)]
    output = backend.affine_align(*given, (2, 3), convention="inverse", sampling_ratio=0)[0].cpu()
    across, down = math.ceil(10 / 3), math.ceil(5 / 2)
    columns = torch.arange(3)[:, None] + (torch.arange(across).double() + 0.5) / across - 0.5
    rows = torch.arange(2)[:, None] + (torch.arange(down).double() + 0.5) / down - 0.5
    x, y = 10 / 3 * columns + 1.5, 5 / 2 * rows + 2.5
    for i in range(2):
        for j in range(3):
            ys, xs = torch.meshgrid(y[i], x[j], indexing="ij")
            sampled = reference.sampling.bilinear(maps[:1], xs[None], ys[None])
            torch.testing.assert_close(output[:, i, j], sampled[0].mean((-1, -2)), rtol=0, atol=1e-12)


def test_large_inputs_are_summed_in_bands(backend):
    """The window reads 1,000 x 300 pixels, more than a slab on the CPU holds. No sample is on a row or column of
    pixels, where the gradient jumps."""
    if backend.name == "emulated":
        pytest.skip("the CUDA kernels have no bands, and their emulation would take minutes")
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 300, 1000, dtype=torch.float64)
    matrices = torch.tensor(
        [[[12.71234, 1.30771, -8.41771], [0.70913, 7.90717, 2.20233]]], dtype=torch.float64
    )
    index, grad = torch.zeros(1, dtype=torch.int64), torch.randn(1, 2, 37, 79, dtype=torch.float64)
    kwargs = modes("bilinear", "border", 8) | {"convention": "inverse"}
    leaves = [maps.clone().requires_grad_(), matrices.clone().requires_grad_()]
    expected = reference.affine_align(leaves[0], leaves[1], index, (37, 79), **kwargs)
    given = [t.detach().to(backend.device).requires_grad_() for t in leaves]
    output = backend.affine_align(*given, index.to(backend.device), (37, 79), **kwargs)
    torch.testing.assert_close(output.cpu(), expected, rtol=0, atol=1e-11)
    found = torch.autograd.grad(output, given, grad.to(backend.device))
    for ours, theirs in zip(found, torch.autograd.grad(expected, leaves, grad), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [200.0, 1e6])
def test_the_adaptive_ratio_is_limited(implementation, scale):
    """Without a limit, a rotated window of this scale would have millions of samples in each pixel."""
    maps = torch.arange(12.0).reshape(1, 1, 3, 4)
    matrices = torch.tensor([[[scale, 0.3 * scale, 0], [-0.3 * scale, scale, 0]]])
    given = [t.to(implementation.device) for t in (maps, matrices, torch.zeros(1, dtype=torch.int64))]
    kwargs = {"convention": "inverse", "padding_mode": "border"}
    limited = implementation.affine_align(*given, (2, 2), sampling_ratio=0, **kwargs)
    expected = implementation.affine_align(*given, (2, 2), sampling_ratio=64, **kwargs)
    torch.testing.assert_close(limited, expected)


def test_pooling_does_not_alias(implementation):
    """A checkerboard that is reduced fivefold is grey with pooling, and black or white without."""
    board = ((torch.arange(60)[:, None] + torch.arange(60)) % 2).float()[None, None]
    matrices = torch.tensor([[[0.2, 0, 0], [0, 0.2, 0]]])
    given = [t.to(implementation.device) for t in (board, matrices, torch.zeros(1, dtype=torch.int64))]
    kwargs = {"convention": "half_pixel"}
    pooled = implementation.affine_align(*given, (12, 12), sampling_ratio=0, **kwargs).cpu()
    assert (pooled - 0.5).abs().max() <= 0.03
    sampled = implementation.affine_align(*given, (12, 12), **kwargs).cpu()
    assert (sampled - sampled.round()).abs().max() <= 1e-5


def homographies() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0], [40, 0], [40, 30], [0, 30]], np.float32)
    for _ in range(8):
        yield cv2.getPerspectiveTransform(corners, (corners + rng.uniform(-9, 9, (4, 2))).astype(np.float32))


@pytest.mark.parametrize("border", ["constant", "replicate", "reflect"])
def test_projective_maps_equal_those_of_opencv(implementation, border):
    """OpenCV interpolates with 5 bits, which is an error of up to 1/64 of the difference of two pixels."""
    image = np.random.default_rng(1).random((30, 40), np.float32)
    padding = {"constant": "zeros", "replicate": "border", "reflect": "reflection"}[border]
    flag = getattr(cv2, f"BORDER_{border.upper()}")
    for m in homographies():
        expected = cv2.warpPerspective(image, m, (40, 30), flags=cv2.INTER_LINEAR, borderMode=flag)
        given = (
            torch.from_numpy(image)[None, None],
            torch.from_numpy(m)[None].float(),
            torch.zeros(1, dtype=torch.int64),
        )
        output = implementation.affine_align(
            *(t.to(implementation.device) for t in given), (30, 40), padding_mode=padding
        )
        np.testing.assert_allclose(output[0, 0].cpu().numpy(), expected, atol=2.2 / 32)


@pytest.mark.parametrize("factor", [1.0, -3.0, 1e-3])
def test_a_multiple_of_a_matrix_is_the_same_map(implementation, factor):
    maps, matrices, batch_index = (t.to(implementation.device) for t in example(3))
    expected = implementation.affine_align(maps, matrices, batch_index, SIZE, padding_mode="reflection")
    output = implementation.affine_align(
        maps, factor * matrices, batch_index, SIZE, padding_mode="reflection"
    )
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-9)


def test_a_matrix_with_a_row_0_0_1_is_affine(implementation):
    maps, matrices, batch_index = example(2)
    row = torch.tensor([0.0, 0, 1], dtype=torch.float64).expand(6, 1, 3)
    given = [t.to(implementation.device) for t in (maps, matrices, batch_index)]
    expected = implementation.affine_align(*given, SIZE)
    square = torch.cat((matrices, row), 1).to(implementation.device)
    output = implementation.affine_align(given[0], square, given[2], SIZE)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-11)


def test_what_is_behind_the_horizon_is_outside(implementation):
    """The third coordinate is 1 - column / 5: it is 0 at the column 5 and negative to the right of it."""
    matrix = torch.tensor([[[1, 0, 0], [0, 1, 0], [-1 / 5, 0, 1.0]]], dtype=torch.float64)
    maps = torch.ones(1, 1, 9, 9, dtype=torch.float64)
    given = [t.to(implementation.device) for t in (maps, matrix, torch.zeros(1, dtype=torch.int64))]
    for padding, outside in (("border", 0), ("reflection", 0), ("fill", 7)):
        kwargs = modes("bilinear", padding, 1) | ({"fill": 7.0} if padding == "fill" else {})
        output = implementation.affine_align(*given, (1, 8), convention="inverse", **kwargs)[0, 0, 0].cpu()
        assert output[5:].tolist() == [outside] * 3
        assert output[:3].tolist() == pytest.approx([1, 1, 1], rel=1e-12)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_extreme_windows_read_nothing_out_of_bounds(backend, interpolation, padding):
    """The sanitized build ends the process if a kernel does."""
    extreme = [0.0, 1e-30, 1e30, -1e30, 3e9, math.inf, -math.inf, math.nan]
    torch.manual_seed(0)
    matrices = torch.tensor(extreme)[torch.randint(len(extreme), (40, 3, 3))]
    matrices[::2] = torch.where(torch.rand(20, 3, 3) < 0.8, torch.randn(20, 3, 3), matrices[::2])
    maps = torch.randn(1, 3, 5, 4)
    index = torch.zeros(40, dtype=torch.int64)
    for rows in (2, 3):
        for convention in ("integer", "inverse"):
            given = [t.to(backend.device).requires_grad_() for t in (maps, matrices[:, :rows])]
            output = backend.affine_align(
                *given,
                index.to(backend.device),
                (3, 4),
                convention=convention,
                **modes(interpolation, padding, 2),
            )
            output.sum().backward()
            assert output.shape == (40, 3, 3, 4)
            invalid = ~matrices[:, :rows].isfinite().flatten(1).all(1)
            assert (output[invalid.to(backend.device)] == 0).all()
            assert not output.isnan().any()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sampling_ratio": -1}, "sampling_ratio must be from 0 to 64, got -1"),
        ({"sampling_ratio": 65}, "sampling_ratio must be from 0 to 64, got 65"),
        ({"interpolation": "cubic"}, "interpolation must be 'nearest', 'bilinear' or 'bicubic', got 'cubic'"),
        (
            {"padding_mode": "zero"},
            "padding_mode must be 'zeros', 'fill', 'border', 'reflection' or 'roi_align', got",
        ),
        ({"fill": 0.5}, "fill must be 0 unless padding_mode is 'fill', got 0.5 with 'zeros'"),
        ({"fill": math.nan, "padding_mode": "fill"}, "fill must be finite, got nan"),
        (
            {"convention": "forward"},
            "convention must be 'integer', 'half_pixel', 'pose2seg' or 'inverse', got",
        ),
    ],
)
def test_wrong_modes_are_refused(kwargs, message):
    maps, matrices, batch_index = example()
    with pytest.raises(ValueError, match=re.escape(message)):
        affine_align(maps, matrices, batch_index, SIZE, **kwargs)


def test_wrong_types_are_refused():
    maps, matrices, batch_index = example()
    with pytest.raises(TypeError, match="sampling_ratio must be an integer"):
        affine_align(maps, matrices, batch_index, SIZE, sampling_ratio=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="fill must be a number"):
        affine_align(maps, matrices, batch_index, SIZE, fill="0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"matrices must be \(N, 2, 3\) or \(N, 3, 3\), got"):
        affine_align(maps, torch.eye(3, 4).double().repeat(6, 1, 1), batch_index, SIZE)


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("padding", ["border", "fill"])
def test_the_operator_is_registered_correctly(rows, padding):
    maps, matrices, batch_index = example(rows, channels=3)
    arguments = (
        maps.requires_grad_(),
        matrices.requires_grad_(),
        batch_index,
        SIZE,
        "half_pixel",
        2,
        "bicubic",
    )
    fill = 0.5 if padding == "fill" else 0.0
    torch.library.opcheck(torch.ops.pose2seg_ops.affine_align, (*arguments, padding, fill))


def test_compiles_without_graph_breaks(backend):
    maps, matrices, batch_index = example(3, torch.float32, 3)

    def align(maps: Tensor, matrices: Tensor) -> Tensor:
        return backend.affine_align(
            maps, matrices, batch_index.to(backend.device), SIZE, padding_mode="border"
        )

    given = [t.to(backend.device).requires_grad_() for t in (maps, matrices)]
    expected = align(*given)
    output = torch.compile(align, backend="aot_eager", fullgraph=True)(*given)
    assert torch.equal(output, expected)
    gradients = torch.autograd.grad(output.sum(), given), torch.autograd.grad(expected.sum(), given)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_results_are_the_same_on_every_run(backend):
    maps, matrices, batch_index = example(3, torch.float32)
    results = []
    for _ in range(2):
        given = [t.detach().clone().to(backend.device).requires_grad_() for t in (maps, matrices)]
        output = backend.affine_align(
            *given, batch_index.to(backend.device), SIZE, **modes("bicubic", "reflection", 0)
        )
        results.append((output, *torch.autograd.grad(output.square().sum(), given)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
