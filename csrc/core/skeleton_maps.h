#pragma once

#include <cstdint>

#include "core/dtype.h"

struct CUstream_st;

namespace pose2seg {

// Limbs travel inside the parameters, so that no launch waits for a copy to the device.
constexpr int kMaxLimbs = 256;

struct SkeletonMapsParams {
  const void* keypoints;  // (maps, people, joints, 3) contiguous: x, y, visibility
  void* output;           // (maps, joints + 2 limbs, height, width) contiguous
  int64_t maps, people, joints, height, width;
  int64_t stride;
  double sigma, limb_width;
  bool signed_visibility;
  int limb_count;
  int16_t limbs[kMaxLimbs][2];
  DType keypoints_dtype;  // float or double
  DType output_dtype;
};

void skeleton_maps_cpu(const SkeletonMapsParams& params);
void skeleton_maps_cuda(const SkeletonMapsParams& params, CUstream_st* stream);

}  // namespace pose2seg
