#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "core/vector2.h"

namespace pose2seg {

// The four pixels around a point and their weights. A tap outside the map is absent: it counts 0, and the
// others are not renormalised. A point with no tap inside (or NaN, or infinite) has none present.
template <class T, class Index = int64_t>
struct BilinearTaps {
  Index x, y;      // of the upper left tap
  T right, lower;  // weights of the right column and of the lower row
  bool has_left, has_right, has_upper, has_lower;

  HOST_DEVICE bool any() const { return (has_left || has_right) && (has_upper || has_lower); }

  HOST_DEVICE bool all() const { return has_left && has_right && has_upper && has_lower; }

  // visit(x, y, weight) for each tap present.
  template <class Visit>
  HOST_DEVICE void visit(const Visit& visit) const {
    if (has_upper && has_left) visit(x, y, (1 - lower) * (1 - right));
    if (has_upper && has_right) visit(x + 1, y, (1 - lower) * right);
    if (has_lower && has_left) visit(x, y + 1, lower * (1 - right));
    if (has_lower && has_right) visit(x + 1, y + 1, lower * right);
  }

  // Sum over the taps present of weight * value(x, y).
  template <class Value>
  HOST_DEVICE T interpolate(const Value& value) const {
    T sum = 0;
    visit([&](Index tap_x, Index tap_y, T weight) { sum += weight * value(tap_x, tap_y); });
    return sum;
  }

  // Of the tap at (column, row); 0 where there is none.
  HOST_DEVICE T weight(Index column, Index row) const {
    if (!any()) return 0;
    const T wx = column == x ? 1 - right : column == x + 1 ? right : T(0);
    const T wy = row == y ? 1 - lower : row == y + 1 ? lower : T(0);
    return wy * wx;
  }

  // How the interpolated value changes with the point: to the right of it and below where it lies on a row
  // or a column of pixels and the two sides differ. The value of an absent tap is to be 0.
  HOST_DEVICE Vector2<T> gradient(T upper_left, T upper_right, T lower_left, T lower_right) const {
    return {(1 - lower) * (upper_right - upper_left) + lower * (lower_right - lower_left),
            (1 - right) * (lower_left - upper_left) + right * (lower_right - upper_right)};
  }
};

template <class T, class Index>
HOST_DEVICE BilinearTaps<T, Index> bilinear_taps(T x, T y, Index height, Index width) {
  // Written so that NaN and coordinates beyond any integer fail before they are converted.
  if (!(x > -1 && x < T(width) && y > -1 && y < T(height))) return {};
  const T left = std::floor(x), upper = std::floor(y);
  const auto column = Index(left), row = Index(upper);
  return {column, row, x - left, y - upper, column >= 0, column + 1 < width, row >= 0, row + 1 < height};
}

}  // namespace pose2seg
