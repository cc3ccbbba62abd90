#pragma once

#include "core/affine_windows.h"
#include "core/sample_windows.h"
#include "ops/runtime.h"

// Checks and parameters that the ops on affine windows share.

namespace pose2seg {

void check_windows(const Tensor& input, const Tensor& matrices, const Tensor& batch_index);

// Checks the arguments of a gradient in the same way.
void check_window_gradient(const Tensor& grad, const Tensor& matrices, const Tensor& batch_index);

// Returns channels_last if the channels of the input are adjacent in memory.
Layout window_layout(const Tensor& input);

// Describes the windows. `input` is the input or its gradient; `output` is the output or its gradient, whose
// first channels the windows are. The matrices and the index must be contiguous. All tensors must outlive the
// result.
AffineWindows affine_windows(const Tensor& input, const Tensor& matrices, const Tensor& batch_index,
                             Convention convention, const Tensor& output);

// Whether the kernels of plain affine sampling do what is asked for.
bool is_plain(const Sampling& sampling, const Tensor& matrices);

// Describes the windows for the kernels of all other modes.
SampledWindows sampled_windows(const AffineWindows& windows, const Sampling& sampling,
                               const Tensor& matrices);

}  // namespace pose2seg
