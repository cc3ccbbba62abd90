#include "core/paste_masks.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "cpu/dispatch.h"

// Clears each mask and then samples only its footprint. Threads share out the masks.

namespace pose2seg {
namespace {

template <class T>
void paste_mask(const PasteMasksParams& params, const PasteTarget& target) {
  using Coordinate = accumulate_t<T>;
  const T* roi = roi_pixels<T>(params, target.instance);
  const auto matrix = load_affine(static_cast<const Coordinate*>(params.matrices) + target.instance * 6);
  const auto box = paste_footprint(matrix, params.roi_height, params.roi_width, target.height, target.width);
  const auto image_to_roi = affine_cast<Coordinate>(matrix);

  bool* mask = params.output + target.offset;
  std::fill_n(mask, target.height * target.width, false);
  for (int64_t row = box.top; row < box.bottom; ++row)
    for (int64_t column = box.left; column < box.right; ++column)
      mask[row * target.width + column] = paste_pixel(params, roi, image_to_roi, column, row);
}

}  // namespace

void paste_masks_cpu(const PasteMasksParams& params) {
  dispatch_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, params.target_count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) paste_mask<T>(params, params.targets[i]);
    });
  });
}

}  // namespace pose2seg
