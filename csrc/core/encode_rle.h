#pragma once

#include <cstdint>

#include "core/mask_boundaries.h"

struct CUstream_st;

namespace pose2seg {

struct EncodeRleParams {
  const uint8_t* masks;  // (masks, height, width); the column stride is 1
  int64_t height, width;
  int64_t strides[2];  // mask, row
  MaskBoundaries output;
};

void encode_rle_cpu(const EncodeRleParams& params);
void encode_rle_cuda(const EncodeRleParams& params, CUstream_st* stream);

}  // namespace pose2seg
