#include "core/paste_masks.h"

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/paste.h"

namespace pose2seg {
namespace {

// The masks of each image, in the order of its people, and in every target where its own goes.
std::vector<Tensor> allocate_masks(std::vector<PasteTarget>& targets, ImageSizes image_sizes,
                                   const Device& device) {
  const auto images = static_cast<int64_t>(image_sizes.size() / 2);
  std::vector<int64_t> people(images);
  for (const PasteTarget& target : targets) ++people[target.image];
  std::vector<Tensor> masks;
  std::vector<bool*> next;
  for (int64_t image = 0; image < images; ++image) {
    masks.push_back(empty({people[image], image_sizes[2 * image], image_sizes[2 * image + 1]},
                          ScalarType::kBool, device));
    next.push_back(masks.back().mutable_data<bool>());
  }
  for (PasteTarget& target : targets) {
    target.mask = next[target.image];
    next[target.image] += target.height * target.width;
  }
  return masks;
}

}  // namespace

std::vector<Tensor> paste_masks(const Tensor& probabilities, const Tensor& matrices,
                                const Tensor& batch_index, ImageSizes image_sizes, double threshold) {
  check_paste(probabilities, matrices, batch_index, image_sizes, threshold);
  std::vector<PasteTarget> targets = paste_targets(batch_index, image_sizes);
  auto masks = allocate_masks(targets, image_sizes, probabilities.device);
  if (targets.empty()) return masks;

  const auto probabilities_contiguous = contiguous(probabilities);
  const auto matrices_contiguous = contiguous(matrices);
  PasteParams params = {};
  store_paste(probabilities_contiguous, matrices_contiguous, threshold, params);
  params.targets = targets.data();
  params.target_count = static_cast<int64_t>(targets.size());
  run_on_device_of(probabilities, params, paste_masks_cpu, CUDA_KERNEL(paste_masks_cuda));
  return masks;
}

}  // namespace pose2seg
