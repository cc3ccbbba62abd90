#pragma once

#include <string_view>

#include "core/skeleton_drawing.h"
#include "ops/tensor.h"

namespace pose2seg {

// The drawing options of the ops, as Python passes them.
struct SkeletonStyle {
  Limbs limbs;  // pairs of joints, flat
  double sigma, limb_width;
  int64_t stride;
  bool signed_visibility;
  std::string_view limb_overlap;
};

// Checks the style and the sizes. `keypoints` (N, K, 3) or (N, P, K, 3) must already be checked and
// contiguous, and must outlive the result.
SkeletonDrawing skeleton_drawing(const Tensor& keypoints, Sizes output_size, const SkeletonStyle& style);

// Checks for (N, K, 3) or (N, P, K, 3), float32 or float64, on a device that has kernels.
void check_keypoints_of_maps(const Tensor& keypoints);

}  // namespace pose2seg
