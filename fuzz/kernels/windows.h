#pragma once

#include "arguments.h"

namespace fuzz {

// What the ops that sample affine windows take.
struct Windows {
  at::Tensor input, matrices, batch_index;
  std::vector<int64_t> output_size;
  const char* convention;

  explicit Windows(Arguments& arguments) {
    const at::ScalarType dtype = arguments.dtype();
    const int64_t images = arguments.count(1, 2), instances = arguments.count(0, 3);
    const int64_t channels = arguments.count(0, 20);
    input = arguments.laid_out(
        arguments.numbers({images, channels, arguments.count(1, 20), arguments.count(1, 20)}, dtype));
    matrices = arguments.matrices(instances, dtype);
    batch_index = arguments.index(instances, images);
    output_size = {arguments.count(1, 20), arguments.count(1, 40)};
    convention = arguments.convention();
  }

  // The instances whose index names no image.
  at::Tensor without_image() const { return (batch_index < 0).logical_or(batch_index >= input.size(0)); }
};

}  // namespace fuzz
