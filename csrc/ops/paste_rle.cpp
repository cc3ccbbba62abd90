#include "core/paste_rle.h"

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/paste.h"
#include "ops/rle.h"

namespace pose2seg {

std::tuple<at::Tensor, at::Tensor> paste_rle(const at::Tensor& probabilities, const at::Tensor& matrices,
                                             const at::Tensor& batch_index, at::IntArrayRef image_sizes,
                                             double threshold) {
  check_paste(probabilities, matrices, batch_index, image_sizes, threshold);
  const std::vector<PasteTarget> targets = paste_targets(batch_index, image_sizes);
  std::vector<MaskSize> sizes;
  for (const PasteTarget& target : targets) {
    sizes.push_back({target.height, target.width});
    check_countable(sizes.back(), "image_sizes");
  }

  const auto probabilities_dense = dense(probabilities);
  const auto matrices_dense = dense(matrices);
  PasteRleParams params = {};
  store_paste(probabilities_dense, matrices_dense, threshold, params);
  params.targets = targets.data();
  params.target_count = static_cast<int64_t>(targets.size());
  return run_length_encode(sizes, probabilities.device(), [&](const MaskBoundaries& output) {
    params.output = output;
    run_on_device_of(probabilities, params, paste_rle_cpu, CUDA_KERNEL(paste_rle_cuda));
  });
}

}  // namespace pose2seg
