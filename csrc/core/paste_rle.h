#pragma once

#include "core/mask_boundaries.h"
#include "core/paste.h"

struct CUstream_st;

namespace pose2seg {

struct PasteRleParams : PasteParams {
  MaskBoundaries output;
};

void paste_rle_cpu(const PasteRleParams& params);
void paste_rle_cuda(const PasteRleParams& params, CUstream_st* stream);

}  // namespace pose2seg
