#pragma once

#include "core/affine_windows.h"

struct CUstream_st;

namespace pose2seg {

struct AffineAlignParams : AffineWindows {
  const void* input;  // (batch, channels, height, width)
  void* output;       // (instances, channels, out_height, out_width)
};

void affine_align_cpu(const AffineAlignParams& params);
void affine_align_cuda(const AffineAlignParams& params, CUstream_st* stream);

}  // namespace pose2seg
