#pragma once

#include <cstdint>

#include "core/skeleton_drawing.h"

struct CUstream_st;

namespace pose2seg {

struct SkeletonMapsBackwardParams {
  SkeletonDrawing drawing;
  const void* grad;         // (maps, joints + 2 limbs, height, width), any strides
  void* grad_keypoints;     // (maps, people, joints, 3) contiguous, in the dtype of the keypoints
  int64_t grad_strides[4];  // in elements
  DType grad_dtype;
};

void skeleton_maps_backward_cpu(const SkeletonMapsBackwardParams& params);
void skeleton_maps_backward_cuda(const SkeletonMapsBackwardParams& params, CUstream_st* stream);

}  // namespace pose2seg
