#include "ops/paste.h"

#include "ops/checks.h"
#include "ops/runtime.h"

namespace pose2seg {
namespace {

// The data of a tensor without elements may be null.
const void* row_of(const Tensor& contiguous, int64_t row) {
  return contiguous.data == nullptr
             ? nullptr
             : contiguous.const_data<char>() + row * contiguous.stride(0) * element_size(contiguous.dtype);
}

}  // namespace

void check_paste(const Tensor& probabilities, const Tensor& matrices, const Tensor& batch_index,
                 ImageSizes image_sizes, std::optional<double> threshold) {
  check_shape(probabilities, "probabilities", "(N, h, w)", {-1, -1, -1});
  check_floating(probabilities, "probabilities");
  check_device(probabilities, "probabilities");
  require<ValueError>(probabilities.size(1) < (1 << 15) && probabilities.size(2) < (1 << 15),
                      "probabilities must be maps of less than 32768 x 32768, got ", probabilities.size(1),
                      " x ", probabilities.size(2));
  check_shape(matrices, "matrices", "(N, 2, 3), one per probability map", {probabilities.size(0), 2, 3});
  check_geometry_dtype(matrices, "matrices", probabilities, "probabilities");
  check_same_device(matrices, "matrices", probabilities, "probabilities");
  check_index(batch_index, "batch_index", probabilities.size(0));
  if (!batch_index.is_cpu() && batch_index.device != probabilities.device)
    raise<ValueError>("batch_index must be on cpu, or where probabilities is, got ",
                      attribute_text(batch_index, "device"));
  require<ValueError>(image_sizes.size() % 2 == 0, "image_sizes must be pairs, got ", image_sizes.size(),
                      " numbers");
  for (size_t i = 0; i < image_sizes.size(); i += 2) {
    check_size(image_sizes.subspan(i, 2), "image_sizes");
    require<ValueError>(image_sizes[i] <= INT32_MAX && image_sizes[i + 1] <= INT32_MAX,
                        "image_sizes must be such that the masks fit in memory, got ", image_sizes[i], " x ",
                        image_sizes[i + 1]);
  }
  // With a threshold below 0, the pixels outside of every footprint would be set as well.
  if (threshold)
    require<ValueError>(*threshold >= 0 && *threshold <= 1, "threshold must be in [0, 1], got ", *threshold);
}

std::vector<PasteTarget> paste_targets(const Tensor& probabilities, const Tensor& matrices,
                                       const Tensor& batch_index, ImageSizes image_sizes) {
  const auto images = static_cast<int64_t>(image_sizes.size() / 2);
  check_has_values(batch_index, "batch_index");
  const Tensor index = contiguous(to_cpu(batch_index));
  std::vector<PasteTarget> targets;
  for (int64_t i = 0; i < index.size(0); ++i) {
    const int64_t image = index.const_data<int64_t>()[i];
    require<ValueError>(image >= 0 && image < images, "batch_index must name one of the ", images,
                        " images of image_sizes, got ", image, " at ", i);
    targets.push_back({row_of(probabilities, i), row_of(matrices, i), image, image_sizes[2 * image],
                       image_sizes[2 * image + 1], nullptr, 0});
  }
  return targets;
}

void store_paste(const Tensor& probabilities, const std::vector<PasteTarget>& targets, double threshold,
                 PasteParams& params) {
  params.targets = targets.data();
  params.target_count = static_cast<int64_t>(targets.size());
  params.roi_height = probabilities.size(1);
  params.roi_width = probabilities.size(2);
  params.threshold = threshold;
  params.dtype = dtype_of(probabilities);
}

}  // namespace pose2seg
