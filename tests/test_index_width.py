"""When kernels may count offsets in 32 bits: decided by a host function that allocates nothing."""

import os
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[1] / "csrc"

PROGRAM = """
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include "core/affine_align.h"
#include "core/affine_align_backward.h"

using namespace pose2seg;

// Input and output of the forward pass; of the backward pass, the gradients of the same shapes.
int main(int, char** arguments) {
  const auto next = [&] { return int64_t(std::atoll(*++arguments)); };
  AffineAlignParams p = {};
  for (int64_t* size : {&p.batch, &p.channels, &p.height, &p.width}) *size = next();
  for (int64_t& stride : p.input_strides) stride = next();
  for (int64_t* size : {&p.instances, &p.channels, &p.out_height, &p.out_width}) *size = next();
  for (int64_t& stride : p.output_strides) stride = next();
  AffineAlignBackward b = {nullptr,     nullptr,     nullptr,      p.batch,     p.channels, p.height, p.width,
                           p.instances, p.out_height, p.out_width, {},          p.convention, p.dtype};
  std::copy_n(p.output_strides, 4, b.grad_strides);
  std::printf("%d %d", offsets_fit_int32(p) ? 32 : 64, b.offsets_fit_int32(p.input_strides) ? 32 : 64);
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
        forward, backward = subprocess.check_output([folder / "main", *map(str, values)]).split()
        return int(forward), int(backward)

    return run


def contiguous(size):
    return (size[1] * size[2] * size[3], size[2] * size[3], size[3], 1)


SMALL = (1, 2, 4, 4)


@pytest.mark.parametrize(
    ("size", "bits"),
    [
        (SMALL, 32),
        ((1, 2, 32768, 32768), 32),  # 2^31 elements: the last is number 2^31 - 1
        ((1, 2, 32768, 32769), 64),
        ((2**31, 1, 1, 1), 32),
        ((2**31 + 1, 1, 1, 1), 64),
        ((0, 2, 4, 4), 32),
    ],
)
def test_contiguous_tensors(index_bits, size, bits):
    small = (SMALL[0], size[1], *SMALL[2:])
    assert index_bits(size, contiguous(size), small, contiguous(small)) == (bits, bits)
    if size[0]:
        assert index_bits(small, contiguous(small), size, contiguous(size)) == (bits, bits)


def test_strides_decide_and_not_sizes(index_bits):
    expanded, strided = (2**20, 2, 64, 64), (2, 2, 2, 2)
    assert index_bits(expanded, (0, 4096, 64, 1), SMALL, contiguous(SMALL)) == (32, 32)
    assert index_bits(strided, (2**31, 4, 2, 1), SMALL, contiguous(SMALL)) == (64, 64)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_expanded_gradients_have_sides_to_count(index_bits, dimension):
    """The gradient of a sum is one number in any number of places."""
    size = [1, 1, 4, 4]
    size[dimension] = 2**32
    output = (1, size[1], *SMALL[2:])
    assert index_bits(output, contiguous(output), size, (0, 0, 0, 0))[1] == 64
