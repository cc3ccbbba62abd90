"""Tests of the PTX of the gradients of affine_align: results, races, bounds, and memory traffic."""

import numpy as np
import ptx
import ptxrun
import pytest
import torch
from test_ptx import window

from pose2seg_ops import reference

TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}

BACKWARD_INPUT = ptx.affine_windows_struct("grad", "grad_input", "footprints")
BACKWARD_MATRICES = ptx.affine_windows_struct("grad", "input", "grad_matrices", "parts")
FOOTPRINT_BYTES = {"d": 160, "f": 88}  # sizeof(AffineFootprint<T>)


@pytest.fixture(scope="module")
def backward_input():
    module = ptx.compile_ptx("affine_align_backward_input")
    return lambda *arguments: launch_backward_input(module, *arguments)


@pytest.fixture(scope="module")
def backward_matrices():
    module = ptx.compile_ptx("affine_align_backward_matrices")
    return lambda *arguments: launch_backward_matrices(module, *arguments)


def describe(struct, device, grad, matrices, batch_index, input):
    p = np.zeros((), struct)
    for name, tensor in (("grad", grad), ("matrices", matrices), ("batch_index", batch_index)):
        p[name] = device.bind(ptx.raw(tensor), name)
    p["batch"], p["channels"], p["height"], p["width"] = input.shape
    p["instances"], (p["out_height"], p["out_width"]) = len(grad), grad.shape[2:]
    p["input_strides"], p["output_strides"] = input.stride(), grad.stride()
    p["dtype"] = ptx.DTYPES.index(grad.dtype)
    return p


def vector_of(*tensors):
    """Returns the elements per 16-byte vector if the channels of all tensors are adjacent in whole vectors,
    otherwise 1."""
    count = 16 // tensors[0].element_size()
    whole = all(t.stride(1) == 1 and t.shape[1] % count == 0 for t in tensors)
    return count if whole else 1


def launch_backward_input(module, grad, matrices, batch_index, input, index):
    """Launches as csrc/cuda/affine_align_backward_input.cu does; returns the gradient and the report."""
    device = ptxrun.Device()
    result = torch.full_like(input, torch.nan)
    compute = "d" if grad.dtype == torch.float64 else "f"
    footprints = np.zeros(len(grad) * FOOTPRINT_BYTES[compute] // 8, np.uint64)
    p = describe(BACKWARD_INPUT, device, grad, matrices, batch_index, input)
    p["grad_input"] = device.bind(ptx.raw(result), "grad_input")
    p["footprints"] = device.bind(footprints, "footprints")
    blocks = -(-len(grad) // 128)
    ptx.run(module, f"find_footprintsI{compute}E", blocks, 128, [p], device)

    batch, channels, height, width = input.shape
    element = ptx.MANGLED[grad.dtype] + index
    if result.stride(1) == 1:
        vector = vector_of(grad, result)
        kernel, block = f"gather_channels_lastI{element}Li{vector}E", (32, 8)
        grid = batch * -(-height // 4) * -(-width // 8) * -(-channels // (128 if compute == "d" else 256))
    else:
        many = 16 if compute == "d" else 32
        planes = many if channels % many == 0 else 8
        kernel, block = f"gather_planesI{element}Li{planes}E", (16, 16)
        grid = batch * -(-height // 16) * -(-width // 16) * -(-channels // planes)
    return result, ptx.run(module, kernel, grid, block, [p], device)


def launch_backward_matrices(module, grad, matrices, batch_index, input, index):
    """Launches as csrc/cuda/affine_align_backward_matrices.cu does; returns the gradient and the report of
    the first pass."""
    device = ptxrun.Device()
    tiles = -(-grad.shape[2] // 4) * -(-grad.shape[3] // 16)
    result, parts = torch.full_like(matrices, torch.nan), np.full((len(grad), tiles, 6), np.nan)
    p = describe(BACKWARD_MATRICES, device, grad, matrices, batch_index, input)
    p["input"] = device.bind(ptx.raw(input), "input")
    p["grad_matrices"], p["parts"] = (
        device.bind(ptx.raw(result), "grad_matrices"),
        device.bind(parts, "parts"),
    )
    kernel = f"sum_tilesI{ptx.MANGLED[grad.dtype]}{index}Li{vector_of(grad, input)}E"
    report = ptx.run(module, kernel, len(grad) * tiles, (32, 8), [p], device)
    compute = "d" if grad.dtype == torch.float64 else "f"
    ptx.run(module, f"sum_instancesI{compute}E", len(grad), 32, [p, np.int64(tiles)], device)
    return result, report


def example(dtype, layout, channels, size):
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(2, channels, 13, 11, generator=generator, dtype=torch.float64).to(dtype)
    grad = torch.randn(4, channels, *size, generator=generator, dtype=torch.float64).to(dtype)
    if layout == "channels_last":
        input, grad = (t.contiguous(memory_format=torch.channels_last) for t in (input, grad))
    if layout == "expanded":
        grad = grad[..., :1].expand(-1, -1, -1, size[1])
    geometry = torch.float64 if dtype == torch.float64 else torch.float32
    angles = (7.3, 30.1, 100.7, 200.9)  # no sampling point lies on a pixel, where the gradient jumps
    matrices = torch.stack([window(angle, 0.7013, (5.317, 6.131), size, geometry) for angle in angles])
    return grad, matrices, torch.tensor([0, 1, 7, 1]), input


def expected_gradients(grad, matrices, batch_index, input):
    inputs = input.double().requires_grad_(), matrices.double().requires_grad_()
    output = reference.affine_align(*inputs, batch_index, tuple(grad.shape[2:]))
    return torch.autograd.grad(output, inputs, grad.double())


def assert_near(actual, expected, tolerance):
    assert (actual.double() - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("index", ["i", "l"], ids=["int32", "int64"])
@pytest.mark.parametrize("dtype", ptx.DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "expanded"])
@pytest.mark.parametrize(("channels", "size"), [(16, (16, 16)), (5, (9, 19))], ids=["small", "ragged"])
class TestEqualsTheReference:
    def test_input(self, backward_input, channels, size, layout, dtype, index):
        arguments = example(dtype, layout, channels, size)
        actual, _ = backward_input(*arguments, index)
        assert_near(actual, expected_gradients(*arguments)[0], TOLERANCE[dtype])

    def test_matrices(self, backward_matrices, channels, size, layout, dtype, index):
        arguments = example(dtype, layout, channels, size)
        actual, _ = backward_matrices(*arguments, index)
        assert_near(actual, expected_gradients(*arguments)[1], min(TOLERANCE[dtype], 1e-5))


def one_window(layout, angle, channels=64):
    generator = torch.Generator().manual_seed(0)
    input = torch.rand(1, channels, 48, 48, generator=generator)
    grad = torch.rand(1, channels, 32, 32, generator=generator)
    if layout == "channels_last":
        input, grad = (t.contiguous(memory_format=torch.channels_last) for t in (input, grad))
    return grad, window(angle, 0.7, (23.8, 23.7), (32, 32))[None], torch.tensor([0]), input


@pytest.mark.parametrize(("angle", "sectors"), [(0, 7), (30, 7), (90, 8)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
class TestMemoryTraffic:
    """Counts traffic for 64 float32 channels at 0.7 input pixels per pixel; docs/kernels.md has the
    figures."""

    def test_input(self, backward_input, layout, angle, sectors):
        _, report = backward_input(*one_window(layout, angle), "i")
        assert ptx.efficiency(ptx.accesses(report, "st")) >= 0.9
        check_loads(report, layout, sectors)

    def test_matrices(self, backward_matrices, layout, angle, sectors):
        _, report = backward_matrices(*one_window(layout, angle), "i")
        check_loads(report, layout, sectors)


def check_loads(report, layout, sectors):
    loads = [access for access in ptx.accesses(report, "ld") if ".f32" in access.text]
    if layout == "channels_last":
        assert {access.bytes for access in loads} == {16}
        assert ptx.efficiency(loads) >= 0.95
    else:
        assert sum(a.sectors for a in loads) / sum(a.requests for a in loads) <= sectors
