#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/paste.h"

// What paste_masks and paste_rle share of reading their arguments.

namespace pose2seg {

void check_paste(const at::Tensor& probabilities, const at::Tensor& matrices, const at::Tensor& batch_index,
                 at::IntArrayRef image_sizes, double threshold);

// Of each instance, in their order, without masks. Waits for `batch_index` where that is on a GPU.
std::vector<PasteTarget> paste_targets(const at::Tensor& batch_index, at::IntArrayRef image_sizes);

// All but the targets; both tensors must be contiguous.
void store_paste(const at::Tensor& probabilities, const at::Tensor& matrices, double threshold,
                 PasteParams& params);

}  // namespace pose2seg
