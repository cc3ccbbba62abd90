#include "ops/affine_windows.h"

#include <algorithm>

#include "ops/checks.h"

namespace pose2seg {
namespace {

// Checks matrices and index against `data`, the argument `name`, which determines the dtype and the device.
void check_dtypes_and_devices(const Tensor& data, const char* name, const Tensor& matrices,
                              const Tensor& batch_index) {
  check_floating(data, name);
  check_device(data, name);
  check_geometry_dtype(matrices, "matrices", data, name);
  check_same_device(matrices, "matrices", data, name);
  check_index(batch_index, "batch_index", matrices.size(0));
  check_same_device(batch_index, "batch_index", data, name);
}

bool has_three_rows(const Tensor& matrices) { return matrices.dim() == 3 && matrices.size(1) == 3; }

}  // namespace

void check_windows(const Tensor& input, const Tensor& matrices, const Tensor& batch_index) {
  check_shape(input, "input", "(B, C, H, W)", {-1, -1, -1, -1});
  check_shape(matrices, "matrices", "(N, 2, 3) or (N, 3, 3)", {-1, has_three_rows(matrices) ? 3 : 2, 3});
  check_dtypes_and_devices(input, "input", matrices, batch_index);
  require<ValueError>(input.size(2) > 0 && input.size(3) > 0,
                      "input must have a positive height and width, got ", input.size(2), " x ",
                      input.size(3));
}

void check_window_gradient(const Tensor& grad, const Tensor& matrices, const Tensor& batch_index) {
  check_shape(grad, "grad", "(N, C, h, w)", {-1, -1, -1, -1});
  check_shape(matrices, "matrices", "(N, 2, 3) or (N, 3, 3), N as in grad",
              {grad.size(0), has_three_rows(matrices) ? 3 : 2, 3});
  check_dtypes_and_devices(grad, "grad", matrices, batch_index);
}

Layout window_layout(const Tensor& input) {
  const bool channels_innermost = input.stride(1) == 1 && input.stride(3) != 1;
  return channels_innermost ? Layout::kChannelsLast : Layout::kContiguous;
}

AffineWindows affine_windows(const Tensor& input, const Tensor& matrices, const Tensor& batch_index,
                             Convention convention, const Tensor& output) {
  AffineWindows windows = {};
  windows.matrices = matrices.data;
  windows.batch_index = batch_index.const_data<int64_t>();
  windows.batch = input.size(0);
  windows.channels = input.size(1);
  windows.height = input.size(2);
  windows.width = input.size(3);
  windows.instances = output.size(0);
  windows.out_height = output.size(2);
  windows.out_width = output.size(3);
  std::copy_n(input.strides().begin(), 4, windows.input_strides);
  std::copy_n(output.strides().begin(), 4, windows.output_strides);
  windows.convention = convention;
  windows.dtype = dtype_of(input);
  return windows;
}

bool is_plain(const Sampling& sampling, const Tensor& matrices) {
  return sampling.is_plain() && !has_three_rows(matrices);
}

SampledWindows sampled_windows(const AffineWindows& windows, const Sampling& sampling,
                               const Tensor& matrices) {
  return {windows, sampling, has_three_rows(matrices)};
}

}  // namespace pose2seg
