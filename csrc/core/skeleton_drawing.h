#pragma once

#include <cstdint>

#include "core/affine.h"
#include "core/dtype.h"
#include "core/skeleton.h"

namespace pose2seg {

// Limbs are passed by value inside the parameters, so that no launch waits for a copy to the device.
constexpr int kMaxLimbs = 256;

// Which skeletons are drawn into which maps, and how. The forward pass and the gradient share it.
struct SkeletonDrawing {
  const void* keypoints;  // (maps, people, joints, 3) contiguous: x, y, visibility
  const void* matrices;   // (maps, 2, 3) contiguous, applied to the keypoints first, or null
  int64_t maps, people, stride;
  double sigma, limb_width;
  // 1 / (2 sigma^2), bounded so that a joint at the centre of a cell has confidence 1 there, however small
  // sigma is.
  double inverse_two_sigma2;
  int joints, height, width;  // a map has fewer than 2^31 cells
  int limb_count;
  int16_t limbs[kMaxLimbs][2];
  LimbOverlap limb_overlap;
  bool signed_visibility;
  DType keypoints_dtype;  // float or double; also of the matrices

  HOST_DEVICE int channels() const { return joints + 2 * limb_count; }
};

template <class T>
HOST_DEVICE Joint<T> drawn_joint(const SkeletonDrawing& d, int64_t map, int64_t person, int k) {
  const T* keypoint = static_cast<const T*>(d.keypoints) + ((map * d.people + person) * d.joints + k) * 3;
  const T x = keypoint[0], y = keypoint[1], visibility = keypoint[2];
  if (d.matrices == nullptr) return {x, y, visibility};
  const auto move = load_affine(static_cast<const T*>(d.matrices) + map * 6);
  return {T(move.x(x, y)), T(move.y(x, y)), visibility};
}

template <class T>
HOST_DEVICE Limb<T> drawn_limb(const SkeletonDrawing& d, int64_t map, int64_t person, int l) {
  return make_limb(drawn_joint<T>(d, map, person, d.limbs[l][0]),
                   drawn_joint<T>(d, map, person, d.limbs[l][1]), T(d.limb_width), T(d.stride), d.height,
                   d.width);
}

}  // namespace pose2seg
