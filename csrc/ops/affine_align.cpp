#include "core/affine_align.h"

#include "ops/affine_sampling.h"
#include "ops/checks.h"
#include "ops/device.h"
#include "ops/fresh_output.h"
#include "ops/ops.h"

namespace pose2seg {

at::Tensor affine_align(const at::Tensor& input, const at::Tensor& matrices, const at::Tensor& batch_index,
                        at::IntArrayRef output_size, std::string_view convention) {
  const Convention parsed = parse_convention(convention);
  check_windows(input, matrices, batch_index);
  check_size(output_size, "output_size");
  const auto output = fresh_output({matrices.size(0), input.size(1), output_size[0], output_size[1]},
                                   input.options().memory_format(window_format(input)));
  if (output.numel() == 0) return output;
  const auto input_settled = settled(input);
  const auto matrices_dense = dense(matrices);
  const auto index_dense = dense(batch_index);
  run_on_device_of(input, affine_align_params(input_settled, matrices_dense, index_dense, parsed, output),
                   affine_align_cpu, CUDA_KERNEL(affine_align_cuda));
  return output;
}

}  // namespace pose2seg
