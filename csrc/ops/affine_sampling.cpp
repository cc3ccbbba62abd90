#include "ops/affine_sampling.h"

#include <algorithm>

#include "ops/checks.h"

namespace pose2seg {

void check_windows(const at::Tensor& input, const at::Tensor& matrices, const at::Tensor& batch_index) {
  check_shape(input, "input", "(B, C, H, W)", {-1, -1, -1, -1});
  check_floating(input, "input");
  check_device(input, "input");
  check_no_tangent(input, "input");
  check_shape(matrices, "matrices", "(N, 2, 3)", {-1, 2, 3});
  check_geometry_dtype(matrices, "matrices", input, "input");
  check_same_device(matrices, "matrices", input, "input");
  check_no_tangent(matrices, "matrices");
  check_index(batch_index, "batch_index", matrices.size(0));
  check_same_device(batch_index, "batch_index", input, "input");
  TORCH_CHECK_VALUE(input.size(2) > 0 && input.size(3) > 0,
                    "input must have a positive height and width, got ", input.size(2), " x ", input.size(3));
}

at::MemoryFormat window_format(const at::Tensor& input) {
  const bool channels_innermost = input.stride(1) == 1 && input.stride(3) != 1;
  return channels_innermost ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

AffineAlignParams affine_align_params(const at::Tensor& input, const at::Tensor& matrices,
                                      const at::Tensor& batch_index, Convention convention,
                                      const at::Tensor& output) {
  AffineAlignParams params = {};
  params.input = input.const_data_ptr();
  params.matrices = matrices.const_data_ptr();
  params.batch_index = batch_index.const_data_ptr<int64_t>();
  params.output = output.mutable_data_ptr();
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
