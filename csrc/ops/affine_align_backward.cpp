#include "core/affine_align_backward.h"

#include <algorithm>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace pose2seg {
namespace {

void check_arguments(const Tensor& grad, const Tensor& matrices, const Tensor& batch_index) {
  check_shape(grad, "grad", "(N, C, h, w)", {-1, -1, -1, -1});
  check_floating(grad, "grad");
  check_device(grad, "grad");
  check_shape(matrices, "matrices", "(N, 2, 3), N as in grad", {grad.size(0), 2, 3});
  check_geometry_dtype(matrices, "matrices", grad, "grad");
  check_same_device(matrices, "matrices", grad, "grad");
  check_index(batch_index, "batch_index", matrices.size(0));
  check_same_device(batch_index, "batch_index", grad, "grad");
}

// `input_size` is (B, C, H, W).
void describe(AffineAlignBackward& params, const Tensor& grad, const Tensor& matrices,
              const Tensor& batch_index, Sizes input_size, Convention convention) {
  params.grad = grad.data;
  params.matrices = matrices.data;
  params.batch_index = batch_index.const_data<int64_t>();
  params.batch = input_size[0];
  params.channels = input_size[1];
  params.height = input_size[2];
  params.width = input_size[3];
  params.instances = grad.size(0);
  params.out_height = grad.size(2);
  params.out_width = grad.size(3);
  std::copy_n(grad.strides().begin(), 4, params.grad_strides);
  params.convention = convention;
  params.dtype = dtype_of(grad);
}

}  // namespace

Tensor affine_align_backward_input(const Tensor& grad, const Tensor& matrices, const Tensor& batch_index,
                                   Sizes input_size, bool channels_last, std::string_view convention) {
  const Convention parsed = parse_convention(convention);
  check_arguments(grad, matrices, batch_index);
  require<ValueError>(input_size.size() == 4 && input_size[1] == grad.size(1),
                      "input_size must be (B, C, H, W), C as in grad, got ", Shape{input_size});
  const Tensor grad_input =
      empty(input_size, grad.dtype, grad.device, channels_last ? Layout::kChannelsLast : Layout::kContiguous);
  if (grad.numel() == 0 || grad_input.numel() == 0) {
    fill_zeros(grad_input);
    return grad_input;
  }

  const Tensor matrices_contiguous = contiguous(matrices), index_contiguous = contiguous(batch_index);
  const int64_t footprint_bytes =
      grad.dtype == ScalarType::kDouble ? sizeof(AffineFootprint<double>) : sizeof(AffineFootprint<float>);
  const Tensor footprints = empty({grad.size(0), footprint_bytes}, ScalarType::kByte, grad.device);
  AffineAlignBackwardInputParams params = {};
  describe(params, grad, matrices_contiguous, index_contiguous, input_size, parsed);
  params.grad_input = grad_input.data;
  std::copy_n(grad_input.strides().begin(), 4, params.grad_input_strides);
  params.footprints = footprints.data;
  run_on_device_of(grad, params, affine_align_backward_input_cpu,
                   CUDA_KERNEL(affine_align_backward_input_cuda));
  return grad_input;
}

Tensor affine_align_backward_matrices(const Tensor& grad, const Tensor& input, const Tensor& matrices,
                                      const Tensor& batch_index, std::string_view convention) {
  const Convention parsed = parse_convention(convention);
  check_arguments(grad, matrices, batch_index);
  check_shape(input, "input", "(B, C, H, W), C as in grad", {-1, grad.size(1), -1, -1});
  check_same_device(input, "input", grad, "grad");
  require<TypeError>(input.dtype == grad.dtype, "input must be ", dtype_name(grad.dtype), " as grad is, got ",
                     dtype_name(input.dtype));
  const Tensor grad_matrices = empty(matrices.sizes(), matrices.dtype, matrices.device);
  if (grad.numel() == 0 || input.numel() == 0) {
    fill_zeros(grad_matrices);
    return grad_matrices;
  }

  const int64_t parts = gradient_tiles(grad.size(2), grad.size(3));
  const Tensor scratch = empty({grad.size(0), parts, 6}, ScalarType::kDouble, grad.device);
  const Tensor matrices_contiguous = contiguous(matrices), index_contiguous = contiguous(batch_index);
  AffineAlignBackwardMatricesParams params = {};
  describe(params, grad, matrices_contiguous, index_contiguous, input.sizes(), parsed);
  params.input = input.data;
  std::copy_n(input.strides().begin(), 4, params.input_strides);
  params.grad_matrices = grad_matrices.data;
  static_assert(sizeof(Affine<double>) == 6 * sizeof(double));
  params.parts = reinterpret_cast<Affine<double>*>(scratch.mutable_data<double>());
  run_on_device_of(grad, params, affine_align_backward_matrices_cpu,
                   CUDA_KERNEL(affine_align_backward_matrices_cuda));
  return grad_matrices;
}

}  // namespace pose2seg
