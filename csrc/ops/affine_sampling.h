#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/MemoryFormat.h>

#include "core/affine_align.h"

// What the ops that sample affine windows share.

namespace pose2seg {

void check_windows(const at::Tensor& input, const at::Tensor& matrices, const at::Tensor& batch_index);

// channels_last when the channels of the input lie next to each other.
at::MemoryFormat window_format(const at::Tensor& input);

// The windows go into the first channels of `output`. The matrices and the index are contiguous; all outlive
// the result.
AffineAlignParams affine_align_params(const at::Tensor& input, const at::Tensor& matrices,
                                      const at::Tensor& batch_index, Convention convention,
                                      const at::Tensor& output);

}  // namespace pose2seg
