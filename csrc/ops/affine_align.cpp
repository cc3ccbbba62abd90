#include "core/affine_align.h"

#include "ops/affine_sampling.h"
#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace pose2seg {

Tensor affine_align(const Tensor& input, const Tensor& matrices, const Tensor& batch_index, Sizes output_size,
                    std::string_view convention) {
  const Convention parsed = parse_convention(convention);
  check_windows(input, matrices, batch_index);
  check_size(output_size, "output_size");
  const Tensor output = empty({matrices.size(0), input.size(1), output_size[0], output_size[1]}, input.dtype,
                              input.device, window_layout(input));
  if (output.numel() == 0) return output;
  const Tensor matrices_contiguous = contiguous(matrices);
  const Tensor index_contiguous = contiguous(batch_index);
  run_on_device_of(input, affine_align_params(input, matrices_contiguous, index_contiguous, parsed, output),
                   affine_align_cpu, CUDA_KERNEL(affine_align_cuda));
  return output;
}

}  // namespace pose2seg
