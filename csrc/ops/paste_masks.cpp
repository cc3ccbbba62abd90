#include "core/paste_masks.h"

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/output_tensor.h"
#include "ops/paste.h"

namespace pose2seg {
namespace {

// Returns the memory of the masks or opacities of each image, in the order of its instances, and stores in
// every target where its own go.
std::vector<Tensor> output_masks(const std::span<const Tensor>* out, std::vector<PasteTarget>& targets,
                                 ImageSizes image_sizes, ScalarType dtype, const Device& device) {
  const auto images = static_cast<int64_t>(image_sizes.size() / 2);
  require<ValueError>(out == nullptr || static_cast<int64_t>(out->size()) == images,
                      "out must hold one tensor per image, ", images, ", got ",
                      out == nullptr ? 0 : out->size());
  std::vector<int64_t> people(images);
  for (const PasteTarget& target : targets) ++people[target.image];
  std::vector<Tensor> masks;
  std::vector<char*> next;
  for (int64_t image = 0; image < images; ++image) {
    masks.push_back(output_tensor(out == nullptr ? nullptr : &(*out)[image],
                                  {people[image], image_sizes[2 * image], image_sizes[2 * image + 1]}, dtype,
                                  device));
    next.push_back(masks.back().mutable_data<char>());
    for (int64_t other = 0; out != nullptr && other < image; ++other)
      check_no_overlap(masks.back(), masks[other]);
  }
  for (PasteTarget& target : targets) {
    target.pixels = next[target.image];
    next[target.image] += target.height * target.width;
  }
  return masks;
}

}  // namespace

std::vector<Tensor> paste_masks(const std::span<const Tensor>* out, const Tensor& probabilities,
                                const Tensor& matrices, const Tensor& batch_index, ImageSizes image_sizes,
                                std::optional<double> threshold) {
  check_paste(probabilities, matrices, batch_index, image_sizes, threshold);
  const auto probabilities_contiguous = contiguous(probabilities);
  const auto matrices_contiguous = contiguous(matrices);
  std::vector<PasteTarget> targets =
      paste_targets(probabilities_contiguous, matrices_contiguous, batch_index, image_sizes);
  const ScalarType dtype = threshold ? ScalarType::kBool : ScalarType::kByte;
  auto masks = output_masks(out, targets, image_sizes, dtype, probabilities.device);
  if (targets.empty()) return masks;

  PasteParams params = {};
  store_paste(probabilities, targets, threshold.value_or(0), params);
  params.opacities = !threshold;
  run_on_device_of(probabilities, params, paste_masks_cpu, CUDA_KERNEL(paste_masks_cuda));
  return masks;
}

}  // namespace pose2seg
