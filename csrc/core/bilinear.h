#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "core/rounded.h"
#include "core/vector2.h"

namespace pose2seg {

// The four pixels around a point, in the order in which they are summed.
enum Tap { kUpperLeft, kUpperRight, kLowerLeft, kLowerRight, kTaps };

template <class T>
struct alignas(16) TapWeights {  // so that CUDA loads 16 bytes at once
  T of[kTaps];

  // The value of an absent tap must be 0.
  HOST_DEVICE T interpolate(const T (&values)[kTaps]) const {
    T sum = 0;
    for (int tap = 0; tap < kTaps; ++tap) sum += of[tap] * values[tap];
    return sum;
  }
};

// Computes the weights of the four taps from those of the right column and of the lower row.
template <class T>
HOST_DEVICE TapWeights<T> bilinear_weights(T right, T lower) {
  const T left = 1 - right, upper = 1 - lower;
  return {{upper * left, upper * right, lower * left, lower * right}};
}

// Interpolates along x and then along y, with the same bits on every device. The value of an absent tap must
// be 0. Four equal values give that value.
template <class T>
HOST_DEVICE T fused_interpolate(T right, T lower, const T (&values)[kTaps]) {
  const T above = fused(right, values[kUpperRight] - values[kUpperLeft], values[kUpperLeft]);
  const T below = fused(right, values[kLowerRight] - values[kLowerLeft], values[kLowerLeft]);
  return fused(lower, below - above, above);
}

// Computes the derivative of the interpolated value with respect to the point. On a row or a column of
// pixels, where the derivative jumps, it is that of the side below or to the right. The value of an absent
// tap must be 0. V is T or a vector of T.
template <class T, class V>
HOST_DEVICE void bilinear_slope(T right, T lower, const V (&values)[kTaps], V& x, V& y) {
  x = (1 - lower) * (values[kUpperRight] - values[kUpperLeft]) +
      lower * (values[kLowerRight] - values[kLowerLeft]);
  y = (1 - right) * (values[kLowerLeft] - values[kUpperLeft]) +
      right * (values[kLowerRight] - values[kUpperRight]);
}

template <class T>
HOST_DEVICE Vector2<T> bilinear_slope(T right, T lower, const T (&values)[kTaps]) {
  Vector2<T> slope;
  bilinear_slope(right, lower, values, slope.x, slope.y);
  return slope;
}

// The four pixels around a point and their weights. A tap outside the map is absent: it counts as 0, and the
// other weights are not renormalised. A point that is NaN, infinite or far outside has no taps.
template <class T, class Index = int64_t>
struct BilinearTaps {
  Index x, y;      // of the upper left tap
  T right, lower;  // weights of the right column and of the lower row
  bool has_left, has_right, has_upper, has_lower;

  HOST_DEVICE bool any() const { return (has_left || has_right) && (has_upper || has_lower); }

  HOST_DEVICE bool has(int tap) const {
    return (tap / 2 == 0 ? has_upper : has_lower) && (tap % 2 == 0 ? has_left : has_right);
  }

  HOST_DEVICE bool all() const { return has_left && has_right && has_upper && has_lower; }

  // Calls visit(x, y, weight) for each tap that is present.
  template <class Visit>
  HOST_DEVICE void visit(const Visit& visit) const {
    const auto weights = bilinear_weights(right, lower);
    if (has_upper && has_left) visit(x, y, weights.of[kUpperLeft]);
    if (has_upper && has_right) visit(x + 1, y, weights.of[kUpperRight]);
    if (has_lower && has_left) visit(x, y + 1, weights.of[kLowerLeft]);
    if (has_lower && has_right) visit(x + 1, y + 1, weights.of[kLowerRight]);
  }
};

template <class T, class Index>
HOST_DEVICE BilinearTaps<T, Index> bilinear_taps(T x, T y, Index height, Index width) {
  // NaN, and coordinates that exceed every integer, must fail this test before they are converted.
  if (!(x > -1 && x < T(width) && y > -1 && y < T(height))) return {};
  const T left = std::floor(x), upper = std::floor(y);
  const auto column = Index(left), row = Index(upper);
  return {column, row, x - left, y - upper, column >= 0, column + 1 < width, row >= 0, row + 1 < height};
}

}  // namespace pose2seg
