#include "core/affine_align_backward.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/fresh_output.h"
#include "ops/ops.h"

namespace pose2seg {
namespace {

void check_arguments(const at::Tensor& grad, const at::Tensor& matrices, const at::Tensor& batch_index) {
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
void describe(AffineAlignBackward& params, const at::Tensor& grad, const at::Tensor& matrices,
              const at::Tensor& batch_index, at::IntArrayRef input_size, Convention convention) {
  params.grad = grad.const_data_ptr();
  params.matrices = matrices.const_data_ptr();
  params.batch_index = batch_index.const_data_ptr<int64_t>();
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

at::Tensor affine_align_backward_input(const at::Tensor& grad, const at::Tensor& matrices,
                                       const at::Tensor& batch_index, at::IntArrayRef input_size,
                                       bool channels_last, std::string_view convention) {
  const Convention parsed = parse_convention(convention);
  check_arguments(grad, matrices, batch_index);
  TORCH_CHECK_VALUE(input_size.size() == 4 && input_size[1] == grad.size(1),
                    "input_size must be (B, C, H, W), C as in grad, got ", input_size);
  const auto options = grad.options().memory_format(channels_last ? at::MemoryFormat::ChannelsLast
                                                                  : at::MemoryFormat::Contiguous);
  const auto grad_input = fresh_output(input_size, options);
  if (grad.numel() == 0 || grad_input.numel() == 0) return grad_input.zero_();

  const auto grad_settled = settled(grad), matrices_dense = dense(matrices), index_dense = dense(batch_index);
  const int64_t footprint_bytes =
      grad.scalar_type() == at::kDouble ? sizeof(AffineFootprint<double>) : sizeof(AffineFootprint<float>);
  const auto footprints = at::empty({grad.size(0), footprint_bytes}, grad.options().dtype(at::kByte));
  AffineAlignBackwardInputParams params = {};
  describe(params, grad_settled, matrices_dense, index_dense, input_size, parsed);
  params.grad_input = grad_input.mutable_data_ptr();
  std::copy_n(grad_input.strides().begin(), 4, params.grad_input_strides);
  params.footprints = footprints.mutable_data_ptr();
  run_on_device_of(grad, params, affine_align_backward_input_cpu,
                   CUDA_KERNEL(affine_align_backward_input_cuda));
  return grad_input;
}

at::Tensor affine_align_backward_matrices(const at::Tensor& grad, const at::Tensor& input,
                                          const at::Tensor& matrices, const at::Tensor& batch_index,
                                          std::string_view convention) {
  const Convention parsed = parse_convention(convention);
  check_arguments(grad, matrices, batch_index);
  check_shape(input, "input", "(B, C, H, W), C as in grad", {-1, grad.size(1), -1, -1});
  check_same_device(input, "input", grad, "grad");
  TORCH_CHECK_TYPE(input.scalar_type() == grad.scalar_type(), "input must be ",
                   dtype_name(grad.scalar_type()), " as grad is, got ", dtype_name(input.scalar_type()));
  if (grad.numel() == 0 || input.numel() == 0) return at::zeros(matrices.sizes(), matrices.options());

  const auto grad_matrices = at::empty(matrices.sizes(), matrices.options());
  const int64_t parts = gradient_tiles(grad.size(2), grad.size(3));
  const auto scratch = at::empty({grad.size(0), parts, 6}, matrices.options().dtype(at::kDouble));
  const auto grad_settled = settled(grad), input_settled = settled(input), matrices_dense = dense(matrices),
             index_dense = dense(batch_index);
  AffineAlignBackwardMatricesParams params = {};
  describe(params, grad_settled, matrices_dense, index_dense, input.sizes(), parsed);
  params.input = input_settled.const_data_ptr();
  std::copy_n(input_settled.strides().begin(), 4, params.input_strides);
  params.grad_matrices = grad_matrices.mutable_data_ptr();
  static_assert(sizeof(Affine<double>) == 6 * sizeof(double));
  params.parts = reinterpret_cast<Affine<double>*>(scratch.mutable_data_ptr<double>());
  run_on_device_of(grad, params, affine_align_backward_matrices_cpu,
                   CUDA_KERNEL(affine_align_backward_matrices_cuda));
  return grad_matrices;
}

}  // namespace pose2seg
