"""Tensors of more than 2^31 elements, and the conditions for 32-bit offsets in kernels."""

import os
import subprocess

import pytest
import torch
from paths import ROOT

from pose2seg_ops import reference

CSRC = ROOT / "csrc"

PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include "core/affine_windows.h"

int main(int, char** arguments) {
  const auto next = [&] { return int64_t(std::atoll(*++arguments)); };
  pose2seg::AffineWindows windows = {};
  for (int64_t* size : {&windows.batch, &windows.channels, &windows.height, &windows.width}) *size = next();
  for (int64_t& stride : windows.input_strides) stride = next();
  for (int64_t* size : {&windows.instances, &windows.channels, &windows.out_height, &windows.out_width})
    *size = next();
  for (int64_t& stride : windows.output_strides) stride = next();
  std::printf("%d", windows.offsets_fit_int32() ? 32 : 64);
}
"""


@pytest.fixture(scope="module")
def index_bits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index_width")
    (folder / "main.cpp").write_text(PROGRAM)
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-std=c++17", f"-I{CSRC}", str(folder / "main.cpp"), "-o", str(folder / "main")]
    subprocess.run(command, check=True)

    def run(input_size, input_strides, output_size, output_strides):
        values = (*input_size, *input_strides, *output_size, *output_strides)
        return int(subprocess.check_output([folder / "main", *map(str, values)]))

    return run


def contiguous(size):
    return (size[1] * size[2] * size[3], size[2] * size[3], size[3], 1)


SMALL = (1, 2, 4, 4)


@pytest.mark.parametrize(
    ("size", "bits"),
    [
        (SMALL, 32),
        ((1, 2, 32768, 32768), 32),  # 2^31 elements: the last has index 2^31 - 1
        ((1, 2, 32768, 32769), 64),
        ((2**31, 1, 1, 1), 32),
        ((2**31 + 1, 1, 1, 1), 64),
        ((0, 2, 4, 4), 32),
    ],
)
def test_contiguous_tensors(index_bits, size, bits):
    small = (SMALL[0], size[1], *SMALL[2:])
    assert index_bits(size, contiguous(size), small, contiguous(small)) == bits
    if size[0]:
        assert index_bits(small, contiguous(small), size, contiguous(size)) == bits


def test_strides_decide_instead_of_sizes(index_bits):
    expanded, strided = (2**20, 2, 64, 64), (2, 2, 2, 2)
    assert index_bits(expanded, (0, 4096, 64, 1), SMALL, contiguous(SMALL)) == 32
    assert index_bits(strided, (2**31, 4, 2, 1), SMALL, contiguous(SMALL)) == 64


@pytest.mark.parametrize("strides", [(8, 8, 2**33, 1), (8, 8, 1, 2**33)])
def test_the_stride_of_a_single_row_or_column_counts(index_bits, strides):
    """A tap outside of the tensor has an address, although nothing is read there."""
    size = (1, 1, 1, 8) if strides[2] > 1 else (1, 1, 8, 1)
    assert index_bits(size, strides, (1, 1, 4, 4), contiguous((1, 1, 4, 4))) == 64


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_the_sides_of_expanded_gradients_count(index_bits, dimension):
    """The gradient of a sum is one number, expanded to any size."""
    size = [1, 1, 4, 4]
    size[dimension] = 2**32
    output = (1, size[1], *SMALL[2:])
    assert index_bits(output, contiguous(output), size, (0, 0, 0, 0)) == 64


def far_apart(tensor):
    """Returns the same values with the second row 2^31 elements behind the first; the memory in between is
    unused."""
    rows = torch.empty(2**31 + tensor[0].numel(), dtype=tensor.dtype, device=tensor.device)
    rows = rows.as_strided(tensor.shape, (2**31, *tensor.stride()[1:]))
    return rows.copy_(tensor)


MATRICES = torch.tensor([[[0.9, 0.3, 1.7], [-0.4, 1.1, 2.9]], [[1.3, 0.1, -2.3], [0.2, 0.8, 1.1]]])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("channels", [3, 8])
def test_affine_align_and_its_gradients(backend, memory_format, channels):
    random = torch.Generator().manual_seed(0)
    input, grad = (torch.randn(2, channels, *size, generator=random) for size in ((9, 7), (6, 8)))
    input, grad = (t.to(backend.device, torch.bfloat16, memory_format=memory_format) for t in (input, grad))
    index = torch.tensor([1, 0], device=backend.device)
    results = []
    for place in (lambda tensor: tensor, far_apart):
        inputs = place(input).requires_grad_(), MATRICES.to(backend.device).requires_grad_()
        output = backend.affine_align(*inputs, index, (6, 8))
        results.append((output, *torch.autograd.grad(output, inputs, place(grad))))
    for near, far in zip(*results, strict=True):
        assert torch.equal(near, far)


@pytest.mark.parametrize("stride", [1, 2**33])
def test_affine_align_of_a_single_row(backend, stride):
    input = torch.arange(8.0, device=backend.device).as_strided((1, 1, 1, 8), (8, 8, stride, 1))
    matrices = torch.tensor([[[1.0, 0, 0], [0, 1, 0.5]]], device=backend.device)  # half a pixel above the row
    output = backend.affine_align(input, matrices, torch.tensor([0], device=backend.device), (2, 8))
    assert torch.equal(output.cpu(), torch.stack((torch.arange(8) / 2, torch.arange(8) / 2))[None, None])


def test_affine_align_of_a_whole_tensor(backend):
    input = torch.empty(1, 2, 32768, 32769, dtype=torch.bfloat16, device=backend.device)
    corner = input[:, :, -8:, -8:]
    corner.copy_(torch.arange(128).reshape(1, 2, 8, 8))
    matrices = torch.tensor([[[1.0, 0, -32761], [0, 1, -32760]]], device=backend.device)
    output = backend.affine_align(input, matrices, torch.tensor([0], device=backend.device), (8, 8))
    assert torch.equal(output, corner)


def test_the_gradient_of_skeleton_maps(backend):
    keypoints = torch.tensor([[[3.0, 4, 2], [8, 5, 2]], [[2, 2, 2], [6, 7, 2]]], device=backend.device)
    grad = torch.randn(2, 4, 10, 12, generator=torch.Generator().manual_seed(0)).bfloat16().to(backend.device)
    results = []
    for place in (lambda tensor: tensor, far_apart):
        leaf = keypoints.clone().requires_grad_()
        maps = backend.skeleton_maps(leaf, (10, 12), limbs=((0, 1),), dtype=torch.bfloat16)
        results.append(torch.autograd.grad(maps, leaf, place(grad))[0])
    assert torch.equal(*results)


def test_encode_rle(backend):
    masks = torch.rand(2, 9, 40, generator=torch.Generator().manual_seed(0)) < 0.3
    masks = masks.to(backend.device)
    assert backend.encode_rle(far_apart(masks)) == reference.encode_rle(masks)


def test_letterbox(backend):
    image = torch.randint(0, 256, (2, 5, 3), generator=torch.Generator().manual_seed(0)).byte()
    image = image.to(backend.device)
    near, far = (backend.letterbox([i], (8, 8), (0, 0, 0), (1, 1, 1))[0] for i in (image, far_apart(image)))
    assert torch.equal(near, far)
