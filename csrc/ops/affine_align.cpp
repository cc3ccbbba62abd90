#include "core/affine_align.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace pose2seg {
namespace {

Convention parse_convention(std::string_view name) {
  if (name == "integer") return Convention::kInteger;
  if (name == "half_pixel") return Convention::kHalfPixel;
  if (name == "pose2seg") return Convention::kPose2Seg;
  TORCH_CHECK_VALUE(false, "convention must be 'integer', 'half_pixel' or 'pose2seg', got '", name, "'");
}

void check_arguments(const at::Tensor& input, const at::Tensor& matrices, const at::Tensor& batch_index,
                     at::IntArrayRef output_size) {
  check_shape(input, "input", "(B, C, H, W)", {-1, -1, -1, -1});
  check_floating(input, "input");
  check_device(input, "input");
  check_shape(matrices, "matrices", "(N, 2, 3)", {-1, 2, 3});
  check_geometry_dtype(matrices, "matrices", input, "input");
  check_same_device(matrices, "matrices", input, "input");
  check_index(batch_index, "batch_index", matrices.size(0));
  check_same_device(batch_index, "batch_index", input, "input");
  check_size(output_size, "output_size");
  TORCH_CHECK_VALUE(input.size(2) > 0 && input.size(3) > 0,
                    "input must have a positive height and width, got ", input.size(2), " x ", input.size(3));
  check_no_gradient(input, "input", "affine_align");
  check_no_gradient(matrices, "matrices", "affine_align");
}

}  // namespace

at::Tensor affine_align(const at::Tensor& input, const at::Tensor& matrices, const at::Tensor& batch_index,
                        at::IntArrayRef output_size, std::string_view convention) {
  const Convention parsed = parse_convention(convention);
  check_arguments(input, matrices, batch_index, output_size);
  const bool channels_innermost = input.stride(1) == 1 && input.stride(3) != 1;
  const auto format = channels_innermost ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  const auto output = at::empty({matrices.size(0), input.size(1), output_size[0], output_size[1]},
                                input.options().memory_format(format));
  if (output.numel() == 0) return output;

  const auto input_settled = settled(input);
  const auto matrices_dense = dense(matrices);
  const auto index_dense = dense(batch_index);
  AffineAlignParams params = {};
  params.input = input_settled.const_data_ptr();
  params.matrices = matrices_dense.const_data_ptr();
  params.batch_index = index_dense.const_data_ptr<int64_t>();
  params.output = output.mutable_data_ptr();
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.height = input.size(2);
  params.width = input.size(3);
  params.instances = matrices.size(0);
  params.out_height = output_size[0];
  params.out_width = output_size[1];
  std::copy_n(input_settled.strides().begin(), 4, params.input_strides);
  std::copy_n(output.strides().begin(), 4, params.output_strides);
  params.convention = parsed;
  params.dtype = dtype_of(input);
  run_on_device_of(input, params, affine_align_cpu, CUDA_KERNEL(affine_align_cuda));
  return output;
}

}  // namespace pose2seg
