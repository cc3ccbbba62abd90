#pragma once

#include "core/affine_align.h"
#include "ops/runtime.h"

// What the ops that sample affine windows share.

namespace pose2seg {

void check_windows(const Tensor& input, const Tensor& matrices, const Tensor& batch_index);

// channels_last when the channels of the input lie next to each other.
Layout window_layout(const Tensor& input);

// The windows go into the first channels of `output`. The matrices and the index are contiguous; all outlive
// the result.
AffineAlignParams affine_align_params(const Tensor& input, const Tensor& matrices, const Tensor& batch_index,
                                      Convention convention, const Tensor& output);

}  // namespace pose2seg
