#include "ops/affine_sampling.h"

#include <algorithm>

#include "ops/checks.h"

namespace pose2seg {

void check_windows(const Tensor& input, const Tensor& matrices, const Tensor& batch_index) {
  check_shape(input, "input", "(B, C, H, W)", {-1, -1, -1, -1});
  check_floating(input, "input");
  check_device(input, "input");
  check_shape(matrices, "matrices", "(N, 2, 3)", {-1, 2, 3});
  check_geometry_dtype(matrices, "matrices", input, "input");
  check_same_device(matrices, "matrices", input, "input");
  check_index(batch_index, "batch_index", matrices.size(0));
  check_same_device(batch_index, "batch_index", input, "input");
  require<ValueError>(input.size(2) > 0 && input.size(3) > 0,
                      "input must have a positive height and width, got ", input.size(2), " x ",
                      input.size(3));
}

Layout window_layout(const Tensor& input) {
  const bool channels_innermost = input.stride(1) == 1 && input.stride(3) != 1;
  return channels_innermost ? Layout::kChannelsLast : Layout::kContiguous;
}

AffineAlignParams affine_align_params(const Tensor& input, const Tensor& matrices, const Tensor& batch_index,
                                      Convention convention, const Tensor& output) {
  AffineAlignParams params = {};
  params.input = input.data;
  params.matrices = matrices.data;
  params.batch_index = batch_index.const_data<int64_t>();
  params.output = output.data;
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.height = input.size(2);
  params.width = input.size(3);
  params.instances = matrices.size(0);
  params.out_height = output.size(2);
  params.out_width = output.size(3);
  std::copy_n(input.strides().begin(), 4, params.input_strides);
  std::copy_n(output.strides().begin(), 4, params.output_strides);
  params.convention = convention;
  params.dtype = dtype_of(input);
  return params;
}

}  // namespace pose2seg
