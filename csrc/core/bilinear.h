#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace pose2seg {

// The four pixels around a point and their weights. A tap outside the map is absent: it counts 0, and the
// others are not renormalised. A point with no tap inside (or NaN, or infinite) has none present.
template <class T>
struct BilinearTaps {
  int64_t x, y;    // of the upper left tap
  T right, lower;  // weights of the right column and of the lower row
  bool has_left, has_right, has_upper, has_lower;

  // Sum over the taps present of weight * value(x, y).
  template <class Value>
  HOST_DEVICE T interpolate(const Value& value) const {
    T sum = 0;
    if (has_upper && has_left) sum += (1 - lower) * (1 - right) * value(x, y);
    if (has_upper && has_right) sum += (1 - lower) * right * value(x + 1, y);
    if (has_lower && has_left) sum += lower * (1 - right) * value(x, y + 1);
    if (has_lower && has_right) sum += lower * right * value(x + 1, y + 1);
    return sum;
  }
};

template <class T>
HOST_DEVICE BilinearTaps<T> bilinear_taps(T x, T y, int64_t height, int64_t width) {
  // Written so that NaN and coordinates beyond any integer fail before they are converted.
  if (!(x > -1 && x < T(width) && y > -1 && y < T(height))) return {};
  const T left = std::floor(x), upper = std::floor(y);
  const auto column = int64_t(left), row = int64_t(upper);
  return {column, row, x - left, y - upper, column >= 0, column + 1 < width, row >= 0, row + 1 < height};
}

}  // namespace pose2seg
