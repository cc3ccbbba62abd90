#pragma once

#include "core/paste.h"
#include "core/rle.h"

struct CUstream_st;

namespace pose2seg {

struct PasteRleParams : PasteParams {
  MaskBoundaries output;
};

void paste_rle_cpu(const PasteRleParams& params);
void paste_rle_cuda(const PasteRleParams& params, CUstream_st* stream);

}  // namespace pose2seg
