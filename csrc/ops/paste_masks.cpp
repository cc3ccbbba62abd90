#include "core/paste_masks.h"

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/fresh_output.h"
#include "ops/ops.h"
#include "ops/paste.h"

namespace pose2seg {
namespace {

// The masks of each image, in the order of its people, and in every target where its own goes.
std::vector<at::Tensor> allocate_masks(std::vector<PasteTarget>& targets, at::IntArrayRef image_sizes,
                                       const at::TensorOptions& options) {
  const auto images = static_cast<int64_t>(image_sizes.size() / 2);
  std::vector<int64_t> people(images);
  for (const PasteTarget& target : targets) ++people[target.image];
  std::vector<at::Tensor> masks;
  std::vector<bool*> next;
  for (int64_t image = 0; image < images; ++image) {
    masks.push_back(
        fresh_output({people[image], image_sizes[2 * image], image_sizes[2 * image + 1]}, options));
    next.push_back(masks.back().mutable_data_ptr<bool>());
  }
  for (PasteTarget& target : targets) {
    target.mask = next[target.image];
    next[target.image] += target.height * target.width;
  }
  return masks;
}

}  // namespace

std::vector<at::Tensor> paste_masks(const at::Tensor& probabilities, const at::Tensor& matrices,
                                    const at::Tensor& batch_index, at::IntArrayRef image_sizes,
                                    double threshold) {
  check_paste(probabilities, matrices, batch_index, image_sizes, threshold);
  std::vector<PasteTarget> targets = paste_targets(batch_index, image_sizes);
  auto masks = allocate_masks(targets, image_sizes, probabilities.options().dtype(at::kBool));
  if (targets.empty()) return masks;

  const auto probabilities_dense = dense(probabilities);
  const auto matrices_dense = dense(matrices);
  PasteParams params = {};
  store_paste(probabilities_dense, matrices_dense, threshold, params);
  params.targets = targets.data();
  params.target_count = static_cast<int64_t>(targets.size());
  run_on_device_of(probabilities, params, paste_masks_cpu, CUDA_KERNEL(paste_masks_cuda));
  return masks;
}

}  // namespace pose2seg
