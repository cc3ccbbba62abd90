#pragma once

#include "core/skeleton_drawing.h"
#include "core/vector2.h"

// Derivatives of the value of one cell with respect to the joints. The boundaries of drawn regions are
// treated as constant.

namespace pose2seg {

// Adds what the gradient of one cell of joint k's confidence map contributes to that joint of `person`. Only
// the person that supplied the value receives a gradient. The derivative has the sign of the value.
template <class T>
HOST_DEVICE Vector2<T> confidence_gradient(const SkeletonDrawing& d, int64_t map, int64_t person, int k,
                                           int column, int row, T grad) {
  const T x = cell_centre(column, T(d.stride)), y = cell_centre(row, T(d.stride));
  const T inverse = T(d.inverse_two_sigma2);
  T value = 0;
  int64_t supplier = -1;
  for (int64_t other = 0; other < d.people; ++other)
    if (draw_joint(value, drawn_joint<T>(d, map, other, k), x, y, inverse, d.signed_visibility))
      supplier = other;
  if (supplier != person) return {0, 0};
  const auto joint = drawn_joint<T>(d, map, person, k);
  const T scale = grad * value * 2 * inverse;
  return {scale * (x - joint.x), scale * (y - joint.y)};
}

// Returns the weight of the direction of limb l of `person` in the vector of a cell that the limb covers.
template <class T>
HOST_DEVICE T limb_weight(const SkeletonDrawing& d, int64_t map, int64_t person, int l, int column, int row) {
  const bool mean = d.limb_overlap == LimbOverlap::kMean;
  int covering = 1;
  for (int64_t other = mean ? 0 : person + 1; other < d.people; ++other) {
    if (other == person || !drawn_limb<T>(d, map, other, l).covers(column, row, T(d.limb_width))) continue;
    if (!mean) return 0;
    ++covering;
  }
  return T(1) / T(covering);
}

// Computes the gradient of the second joint of a limb, in keypoint units, from the gradient of its direction;
// the gradient of the first joint is the opposite. The component along the limb has no effect. The result is
// zero if the limb is too short for a finite gradient.
template <class T>
HOST_DEVICE Vector2<T> direction_gradient(const Limb<T>& limb, T stride, const Vector2<T>& grad) {
  const T inverse_length = 1 / (limb.length * stride);
  if (!std::isfinite(inverse_length)) return {0, 0};
  const T across = (grad.y * limb.unit_x - grad.x * limb.unit_y) * inverse_length;
  return {-across * limb.unit_y, across * limb.unit_x};
}

}  // namespace pose2seg
