#include "core/affine_align_backward.h"

#include "ops/affine_windows.h"
#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace pose2seg {

Tensor affine_align_backward_input(const Tensor& grad, const Tensor& matrices, const Tensor& batch_index,
                                   Sizes input_size, bool channels_last, std::string_view convention,
                                   int64_t sampling_ratio, std::string_view interpolation,
                                   std::string_view padding_mode, double fill) {
  const Convention parsed = parse_convention(convention);
  const Sampling sampling = parse_sampling(sampling_ratio, interpolation, padding_mode, fill);
  check_window_gradient(grad, matrices, batch_index);
  require<ValueError>(input_size.size() == 4 && input_size[1] == grad.size(1),
                      "input_size must be (B, C, H, W), C as in grad, got ", Shape{input_size});
  const Tensor grad_input =
      empty(input_size, grad.dtype, grad.device, channels_last ? Layout::kChannelsLast : Layout::kContiguous);
  if (grad.numel() == 0 || grad_input.numel() == 0) {
    fill_zeros(grad_input);
    return grad_input;
  }

  const Tensor matrices_contiguous = contiguous(matrices), index_contiguous = contiguous(batch_index);
  const AffineWindows windows =
      affine_windows(grad_input, matrices_contiguous, index_contiguous, parsed, grad);
  if (!is_plain(sampling, matrices)) {
    const Tensor samplers =
        empty({grad.size(0), sizeof(WindowSampler<double>)}, ScalarType::kByte, grad.device);
    const SampleWindowsBackwardInputParams params = {sampled_windows(windows, sampling, matrices), grad.data,
                                                     grad_input.data, samplers.data};
    run_on_device_of(grad, params, sample_windows_backward_input_cpu,
                     CUDA_KERNEL(sample_windows_backward_input_cuda));
    return grad_input;
  }
  const int64_t footprint_bytes =
      grad.dtype == ScalarType::kDouble ? sizeof(AffineFootprint<double>) : sizeof(AffineFootprint<float>);
  const Tensor footprints = empty({grad.size(0), footprint_bytes}, ScalarType::kByte, grad.device);
  const AffineAlignBackwardInputParams params = {windows, grad.data, grad_input.data, footprints.data};
  run_on_device_of(grad, params, affine_align_backward_input_cpu,
                   CUDA_KERNEL(affine_align_backward_input_cuda));
  return grad_input;
}

Tensor affine_align_backward_matrices(const Tensor& grad, const Tensor& input, const Tensor& matrices,
                                      const Tensor& batch_index, std::string_view convention,
                                      int64_t sampling_ratio, std::string_view interpolation,
                                      std::string_view padding_mode, double fill) {
  const Convention parsed = parse_convention(convention);
  const Sampling sampling = parse_sampling(sampling_ratio, interpolation, padding_mode, fill);
  check_window_gradient(grad, matrices, batch_index);
  check_shape(input, "input", "(B, C, H, W), C as in grad", {-1, grad.size(1), -1, -1});
  check_same_device(input, "input", grad, "grad");
  require<TypeError>(input.dtype == grad.dtype, "input must be ", dtype_name(grad.dtype), " as grad is, got ",
                     dtype_name(input.dtype));
  const Tensor grad_matrices = empty(matrices.sizes(), matrices.dtype, matrices.device);
  if (grad.numel() == 0 || input.numel() == 0) {
    fill_zeros(grad_matrices);
    return grad_matrices;
  }

  const Tensor matrices_contiguous = contiguous(matrices), index_contiguous = contiguous(batch_index);
  const AffineWindows windows = affine_windows(input, matrices_contiguous, index_contiguous, parsed, grad);
  const int64_t parts = gradient_tiles(grad.size(2), grad.size(3));
  if (!is_plain(sampling, matrices)) {
    const Tensor scratch = empty({grad.size(0), parts, 9}, ScalarType::kDouble, grad.device);
    static_assert(sizeof(Projective<double>) == 9 * sizeof(double));
    const SampleWindowsBackwardMatricesParams params = {
        sampled_windows(windows, sampling, matrices), grad.data, input.data, grad_matrices.data,
        reinterpret_cast<Projective<double>*>(scratch.mutable_data<double>())};
    run_on_device_of(grad, params, sample_windows_backward_matrices_cpu,
                     CUDA_KERNEL(sample_windows_backward_matrices_cuda));
    return grad_matrices;
  }
  const Tensor scratch = empty({grad.size(0), parts, 6}, ScalarType::kDouble, grad.device);
  static_assert(sizeof(Affine<double>) == 6 * sizeof(double));
  const AffineAlignBackwardMatricesParams params = {
      windows, grad.data, input.data, grad_matrices.data,
      reinterpret_cast<Affine<double>*>(scratch.mutable_data<double>())};
  run_on_device_of(grad, params, affine_align_backward_matrices_cpu,
                   CUDA_KERNEL(affine_align_backward_matrices_cuda));
  return grad_matrices;
}

}  // namespace pose2seg
