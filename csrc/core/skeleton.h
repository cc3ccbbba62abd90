#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "core/range.h"

namespace pose2seg {

// Where a confidence map is cut: d^2 / (2 sigma^2) < 4.6025, that is, above about 0.01.
constexpr double kConfidenceCutoff = 4.6025;

template <class T>
struct Joint {
  T x, y, visibility;

  HOST_DEVICE bool visible() const { return visibility > 0; }
};

template <class T>
HOST_DEVICE Joint<T> load_joint(const T* keypoint) {
  return {keypoint[0], keypoint[1], keypoint[2]};
}

// Coordinate, in keypoint units, of the centre of cell i of a map with this stride.
template <class T>
HOST_DEVICE T cell_centre(int64_t cell, int64_t stride) {
  return T(cell) * T(stride) + (T(stride) / 2 - T(0.5));
}

// The confidence map's value at (x, y) after drawing one more joint over `old`. Signed visibility negates
// what a labelled but occluded joint (visibility 1) draws over; so with several people their order counts.
template <class T>
HOST_DEVICE T draw_joint(T old, const Joint<T>& joint, T x, T y, T inverse_two_sigma2,
                         bool signed_visibility) {
  const T dx = x - joint.x, dy = y - joint.y;
  const T exponent = (dx * dx + dy * dy) * inverse_two_sigma2;
  if (!(joint.visible() && exponent < T(kConfidenceCutoff))) return old;
  const T value = std::exp(-exponent);
  const T drawn = value > old ? value : old;
  return signed_visibility && joint.visibility == 1 ? -drawn : drawn;
}

// The cells of one limb: inside the box of its two joints (widened, rounded half to even, the far side
// exclusive) and nearer than its width to the infinite line through them. All of them get its direction.
template <class T>
struct Limb {
  T x, y;            // first joint, in cells
  T unit_x, unit_y;  // direction from the first joint to the second
  T width;
  int64_t left, right, top, bottom;  // empty when there is nothing to draw

  HOST_DEVICE bool covers(int64_t column, int64_t row) const {
    if (column < left || column >= right || row < top || row >= bottom) return false;
    return std::fabs((T(column) - x) * unit_y - (T(row) - y) * unit_x) < width;
  }
};

// First and past-the-last cell along one axis.
template <class T>
HOST_DEVICE void limb_span(T end, T other, T width, int64_t extent, int64_t& first, int64_t& last) {
  first = clamp_index(std::rint(std::fmin(end, other) - width), extent);
  last = clamp_index(std::rint(std::fmax(end, other) + width), extent);
}

template <class T>
HOST_DEVICE Limb<T> make_limb(const Joint<T>& from, const Joint<T>& to, T width, int64_t stride,
                              int64_t map_height, int64_t map_width) {
  const T x = from.x / T(stride), y = from.y / T(stride);
  const T other_x = to.x / T(stride), other_y = to.y / T(stride);
  const T length = std::hypot(other_x - x, other_y - y);
  if (!(from.visible() && to.visible() && length > 0 && std::isfinite(length))) return {};
  Limb<T> limb{x, y, (other_x - x) / length, (other_y - y) / length, width, 0, 0, 0, 0};
  limb_span(x, other_x, width, map_width, limb.left, limb.right);
  limb_span(y, other_y, width, map_height, limb.top, limb.bottom);
  return limb;
}

}  // namespace pose2seg
