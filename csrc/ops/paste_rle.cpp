#include "core/paste_rle.h"

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/paste.h"
#include "ops/rle.h"

namespace pose2seg {

std::vector<std::string> paste_rle(const Tensor& probabilities, const Tensor& matrices,
                                   const Tensor& batch_index, ImageSizes image_sizes, double threshold) {
  check_paste(probabilities, matrices, batch_index, image_sizes, threshold);
  check_has_values(probabilities, "probabilities");
  const auto probabilities_contiguous = contiguous(probabilities);
  const auto matrices_contiguous = contiguous(matrices);
  std::vector<PasteTarget> targets =
      paste_targets(probabilities_contiguous, matrices_contiguous, batch_index, image_sizes);
  std::vector<MaskSize> sizes;
  for (const PasteTarget& target : targets) {
    sizes.push_back({target.height, target.width});
    check_countable(sizes.back(), "image_sizes");
  }
  for (size_t i = 1; i < targets.size(); ++i)
    targets[i].first_stripe =
        targets[i - 1].first_stripe + stripe_count(targets[i - 1].height, targets[i - 1].width);

  PasteRleParams params = {};
  store_paste(probabilities, targets, threshold, params);
  return run_length_encode(sizes, probabilities.device, [&](const MaskBoundaries& output) {
    params.output = output;
    run_on_device_of(probabilities, params, paste_rle_cpu, CUDA_KERNEL(paste_rle_cuda));
  });
}

}  // namespace pose2seg
