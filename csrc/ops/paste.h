#pragma once

#include <optional>
#include <vector>

#include "core/paste.h"
#include "ops/tensor.h"

// Argument checks and parameters that paste_masks and paste_rle share.

namespace pose2seg {

void check_paste(const Tensor& probabilities, const Tensor& matrices, const Tensor& batch_index,
                 ImageSizes image_sizes, std::optional<double> threshold);

// Returns the target of each instance, in order, without a mask. `probabilities` and `matrices` must be
// contiguous. If `batch_index` is on a GPU, this waits for it.
std::vector<PasteTarget> paste_targets(const Tensor& probabilities, const Tensor& matrices,
                                       const Tensor& batch_index, ImageSizes image_sizes);

// Stores what masks and run lengths share; `params` refers to `targets` from then on.
void store_paste(const Tensor& probabilities, const std::vector<PasteTarget>& targets, double threshold,
                 PasteParams& params);

}  // namespace pose2seg
