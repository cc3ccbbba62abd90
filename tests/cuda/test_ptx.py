"""Tests of the PTX of affine_align: results, races, bounds, and memory traffic."""

import numpy as np
import ptx
import pytest
import torch

from pose2seg_ops import reference

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.fixture(scope="module")
def affine_align():
    module = ptx.compile_ptx("affine_align")
    return lambda *arguments, **options: ptx.affine_align(module, *arguments, **options)


def window(angle, scale, centre, size, dtype=torch.float32):
    """Returns the matrix, input -> output, of a window around `centre`, rotated by `angle` (degrees), with
    `scale` input pixels per output pixel."""
    radians = np.deg2rad(angle)
    turn = scale * np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    middle = (np.array([size[1], size[0]]) - 1) / 2
    to_input = np.vstack((np.column_stack((turn, centre - turn @ middle)), (0, 0, 1)))
    return torch.from_numpy(np.linalg.inv(to_input)[:2]).to(dtype)


@pytest.mark.parametrize("index", ["i", "l"], ids=["int32", "int64"])
@pytest.mark.parametrize("dtype", ptx.DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
@pytest.mark.parametrize(("channels", "size"), [(16, (16, 16)), (5, (9, 19))], ids=["small", "ragged"])
def test_affine_align_equals_the_reference(affine_align, channels, size, layout, dtype, index):
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(2, channels, 13, 11, generator=generator, dtype=torch.float64).to(dtype)
    if layout == "channels_last":
        input = input.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        input = input.transpose(2, 3)
    geometry = torch.float64 if dtype == torch.float64 else torch.float32
    angles = (0, 30, 90, 200)
    matrices = torch.stack([window(angle, 0.7, (5.3, 6.1), size, geometry) for angle in angles])
    batch_index = torch.tensor([0, 1, 7, 1])
    for convention in ptx.CONVENTIONS:
        output, _ = affine_align(input, matrices, batch_index, size, convention=convention, index=index)
        expected = reference.affine_align(input, matrices, batch_index, size, convention=convention)
        torch.testing.assert_close(output, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("index", ["i", "l"], ids=["int32", "int64"])
@pytest.mark.parametrize("dtype", ptx.DTYPES, ids=str)
@pytest.mark.parametrize(("vectors", "size"), [(32, (8, 8)), (75, (5, 11))], ids=["small", "ragged"])
def test_affine_align_into_a_part_of_the_channels(affine_align, vectors, size, dtype, index):
    channels = vectors * 16 // dtype.itemsize
    input = torch.randn(2, channels, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    input = input.to(dtype).contiguous(memory_format=torch.channels_last)
    geometry = torch.float64 if dtype == torch.float64 else torch.float32
    matrices = torch.stack([window(angle, 0.4, (2.6, 3.1), size, geometry) for angle in (30, 200)])
    batch_index = torch.tensor([1, 0])
    output, _ = affine_align(input, matrices, batch_index, size, index=index, extra=3)
    expected = reference.affine_align(input, matrices, batch_index, size)
    torch.testing.assert_close(output[:, :channels], expected, rtol=0, atol=TOLERANCE[dtype])
    assert output[:, channels:].isnan().all()


@pytest.mark.parametrize(("layout", "instructions"), [("contiguous", 16), ("channels_last", 9)])
@pytest.mark.parametrize(("angle", "sectors"), [(0, 7), (30, 7), (90, 8)])
def test_memory_traffic_of_affine_align(affine_align, layout, instructions, angle, sectors):
    """Counts traffic for 256 float32 channels at 0.7 input pixels per pixel; docs/kernels.md has the
    figures."""
    size = (64, 64)
    input = torch.rand(1, 256, 80, 80, generator=torch.Generator().manual_seed(0))
    if layout == "channels_last":
        input = input.contiguous(memory_format=torch.channels_last)
    matrices = window(angle, 0.7, (39.8, 39.7), size)[None]
    output, report = affine_align(input, matrices, torch.tensor([0]), size)
    expected = reference.affine_align(input.double(), matrices.double(), torch.tensor([0]), size)
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=TOLERANCE[torch.float32])

    blocks = report.grid[0] * report.grid[1]
    # The remaining loads are the matrix, once per block.
    taps = [access for access in ptx.accesses(report, "ld") if access.lanes > blocks]
    assert ptx.efficiency(ptx.accesses(report, "st")) >= 0.9
    if layout == "channels_last":
        assert ptx.efficiency(taps) >= 0.95
    else:
        assert sum(a.sectors for a in taps) / sum(a.requests for a in taps) <= sectors
    assert report.warp_instructions / (output.numel() / 32) <= instructions
