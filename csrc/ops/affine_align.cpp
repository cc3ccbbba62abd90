#include "core/affine_align.h"

#include "ops/affine_windows.h"
#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/output_tensor.h"

namespace pose2seg {

Tensor affine_align(const Tensor* out, const Tensor& input, const Tensor& matrices, const Tensor& batch_index,
                    Sizes output_size, std::string_view convention, int64_t sampling_ratio,
                    std::string_view interpolation, std::string_view padding_mode, double fill) {
  const Convention parsed = parse_convention(convention);
  const Sampling sampling = parse_sampling(sampling_ratio, interpolation, padding_mode, fill);
  check_windows(input, matrices, batch_index);
  check_size(output_size, "output_size");
  const Tensor output = output_tensor(out, {matrices.size(0), input.size(1), output_size[0], output_size[1]},
                                      input.dtype, input.device, window_layout(input));
  if (output.numel() == 0) return output;
  const Tensor matrices_contiguous = contiguous(matrices);
  const Tensor index_contiguous = contiguous(batch_index);
  const AffineWindows windows = affine_windows(input, matrices_contiguous, index_contiguous, parsed, output);
  if (is_plain(sampling, matrices)) {
    const AffineAlignParams params = {windows, input.data, output.data};
    run_on_device_of(input, params, affine_align_cpu, CUDA_KERNEL(affine_align_cuda));
  } else {
    const SampleWindowsParams params = {sampled_windows(windows, sampling, matrices), input.data,
                                        output.data};
    run_on_device_of(input, params, sample_windows_cpu, CUDA_KERNEL(sample_windows_cuda));
  }
  return output;
}

}  // namespace pose2seg
