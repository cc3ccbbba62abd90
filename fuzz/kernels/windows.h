#pragma once

#include "arguments.h"

namespace fuzz {

// The arguments of the ops that sample affine windows.
struct Windows {
  Tensor input, matrices, batch_index;
  Shape output_size;
  const char* convention;

  explicit Windows(Arguments& arguments) {
    const ScalarType dtype = arguments.dtype();
    const int64_t images = arguments.count(1, 2), instances = arguments.count(0, 3);
    const int64_t channels = arguments.count(0, 20);
    input = arguments.laid_out(
        arguments.numbers({images, channels, arguments.count(1, 20), arguments.count(1, 20)}, dtype));
    matrices = arguments.matrices(instances, dtype);
    batch_index = arguments.index(instances, images);
    output_size = {arguments.count(1, 20), arguments.count(1, 40)};
    convention = arguments.convention();
  }

  // Whether the results are zeros for the instances with an invalid index.
  bool zero_without_image(const Tensor& results) const {
    for (int64_t i = 0; i < batch_index.numel(); ++i) {
      const int64_t image = batch_index.const_data<int64_t>()[i];
      if ((image < 0 || image >= input.size(0)) && !within(select(results, 0, i), 0)) return false;
    }
    return true;
  }
};

}  // namespace fuzz
