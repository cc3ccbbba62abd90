#pragma once

#include <cstdint>

#include "core/affine.h"
#include "core/dtype.h"
#include "core/skeleton.h"

namespace pose2seg {

// Limbs travel inside the parameters, so that no launch waits for a copy to the device.
constexpr int kMaxLimbs = 256;

// Whose skeletons are drawn into what maps, and how: the same for the maps and for their gradient.
struct SkeletonDrawing {
  const void* keypoints;  // (maps, people, joints, 3) contiguous: x, y, visibility
  const void* matrices;   // (maps, 2, 3) contiguous: moves the keypoints first; null to leave them
  int64_t maps, people, stride;
  double sigma, limb_width;
  int joints, height, width;  // a map has fewer than 2^31 cells
  int limb_count;
  int16_t limbs[kMaxLimbs][2];
  LimbOverlap limb_overlap;
  bool signed_visibility;
  DType keypoints_dtype;  // float or double, of the matrices too

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

template <class T>
HOST_DEVICE T inverse_two_sigma2(const SkeletonDrawing& d) {
  return T(1 / (2 * d.sigma * d.sigma));
}

}  // namespace pose2seg
