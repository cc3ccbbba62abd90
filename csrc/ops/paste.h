#pragma once

#include <vector>

#include "core/paste.h"
#include "ops/tensor.h"

// What paste_masks and paste_rle share of reading their arguments.

namespace pose2seg {

void check_paste(const Tensor& probabilities, const Tensor& matrices, const Tensor& batch_index,
                 ImageSizes image_sizes, double threshold);

// Of each instance, in their order, without masks. Waits for `batch_index` where that is on a GPU.
std::vector<PasteTarget> paste_targets(const Tensor& batch_index, ImageSizes image_sizes);

// All but the targets; both tensors must be contiguous.
void store_paste(const Tensor& probabilities, const Tensor& matrices, double threshold, PasteParams& params);

}  // namespace pose2seg
