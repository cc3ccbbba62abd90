#pragma once

#include <cstdint>

#include "core/skeleton_drawing.h"

struct CUstream_st;

namespace pose2seg {

struct SkeletonMapsParams {
  SkeletonDrawing drawing;    // with at least one person per map
  void* output;               // (maps, joints + 2 limbs, height, width); channel or column stride 1
  int64_t output_strides[4];  // in elements
  DType output_dtype;
};

void skeleton_maps_cpu(const SkeletonMapsParams& params);
void skeleton_maps_cuda(const SkeletonMapsParams& params, CUstream_st* stream);

}  // namespace pose2seg
