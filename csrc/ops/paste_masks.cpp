#include "core/paste_masks.h"

#include <ATen/ops/empty.h>
#include <c10/util/safe_numerics.h>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace pose2seg {
namespace {

// Where every mask goes in one buffer: image after image, and within an image in the order of the instances.
struct Arrangement {
  std::vector<PasteTarget> targets;
  std::vector<int64_t> people;  // per image
  int64_t total = 0;            // pixels of all masks
};

Arrangement arrange(const at::Tensor& batch_index, at::IntArrayRef image_sizes) {
  const auto images = static_cast<int64_t>(image_sizes.size() / 2);
  std::vector<std::vector<int64_t>> members(images);
  for (int64_t i = 0; i < batch_index.size(0); ++i) {
    const int64_t image = batch_index.const_data_ptr<int64_t>()[i];
    TORCH_CHECK_VALUE(image >= 0 && image < images, "batch_index must name one of the ", images,
                      " images of image_sizes, got ", image, " at ", i);
    members[image].push_back(i);
  }
  Arrangement all;
  for (int64_t image = 0; image < images; ++image) {
    const int64_t height = image_sizes[2 * image], width = image_sizes[2 * image + 1];
    all.people.push_back(static_cast<int64_t>(members[image].size()));
    for (const int64_t instance : members[image]) {
      all.targets.push_back({instance, all.total, height, width});
      int64_t pixels = 0;
      const bool overflows =
          c10::mul_overflows(height, width, &pixels) || c10::add_overflows(all.total, pixels, &all.total);
      TORCH_CHECK_VALUE(!overflows, "image_sizes must be such that the masks fit in memory, got ", height,
                        " x ", width);
    }
  }
  return all;
}

std::vector<at::Tensor> split(const at::Tensor& buffer, const Arrangement& all, at::IntArrayRef image_sizes) {
  std::vector<at::Tensor> masks;
  int64_t offset = 0;
  for (size_t image = 0; image < all.people.size(); ++image) {
    const int64_t height = image_sizes[2 * image], width = image_sizes[2 * image + 1];
    const int64_t count = all.people[image] * height * width;
    masks.push_back(buffer.narrow(0, offset, count).view({all.people[image], height, width}));
    offset += count;
  }
  return masks;
}

}  // namespace

std::vector<at::Tensor> paste_masks(const at::Tensor& probabilities, const at::Tensor& matrices,
                                    const at::Tensor& batch_index, at::IntArrayRef image_sizes,
                                    double threshold) {
  check_shape(probabilities, "probabilities", "(N, h, w)", {-1, -1, -1});
  check_floating(probabilities, "probabilities");
  check_device(probabilities, "probabilities");
  check_shape(matrices, "matrices", "(N, 2, 3), one per probability map", {probabilities.size(0), 2, 3});
  check_geometry_dtype(matrices, "matrices", probabilities, "probabilities");
  check_same_device(matrices, "matrices", probabilities, "probabilities");
  check_index(batch_index, "batch_index", probabilities.size(0));
  TORCH_CHECK_VALUE(image_sizes.size() % 2 == 0, "image_sizes must be pairs, got ", image_sizes.size(),
                    " numbers");
  for (size_t i = 0; i < image_sizes.size(); i += 2) check_size(image_sizes.slice(i, 2), "image_sizes");
  // Below 0 the pixels outside every footprint would count too.
  TORCH_CHECK_VALUE(threshold >= 0 && threshold <= 1, "threshold must be in [0, 1], got ", threshold);

  const Arrangement all = arrange(batch_index.cpu().contiguous(), image_sizes);
  const auto buffer = at::empty({all.total}, probabilities.options().dtype(at::kBool));
  if (all.total == 0 || probabilities.numel() == 0) return split(buffer.zero_(), all, image_sizes);

  const auto probabilities_dense = dense(probabilities);
  const auto matrices_dense = dense(matrices);
  PasteMasksParams params = {};
  params.probabilities = probabilities_dense.const_data_ptr();
  params.matrices = matrices_dense.const_data_ptr();
  params.output = buffer.mutable_data_ptr<bool>();
  params.targets = all.targets.data();
  params.target_count = static_cast<int64_t>(all.targets.size());
  params.roi_height = probabilities.size(1);
  params.roi_width = probabilities.size(2);
  params.threshold = threshold;
  params.dtype = dtype_of(probabilities);
  run_on_device_of(probabilities, params, paste_masks_cpu, CUDA_KERNEL(paste_masks_cuda));
  return split(buffer, all, image_sizes);
}

}  // namespace pose2seg
