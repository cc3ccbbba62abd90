#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "core/rounded.h"
#include "core/sampling.h"

namespace pose2seg {

// The weights of kTaps consecutive pixels for a point between the middle two, at `t` from 0 to 1 on the way
// from the one to the other, and their derivatives with respect to t. They sum to 1 and to 0.
template <int kTaps, class T>
HOST_DEVICE void tap_weights(T t, T (&weights)[kTaps]) {
  if constexpr (kTaps == 1) {
    weights[0] = 1;
  } else if constexpr (kTaps == 2) {
    weights[0] = 1 - t;
    weights[1] = t;
  } else {
    constexpr T a = T(-0.75);  // the cubic convolution of torch and OpenCV
    const auto near = [](T x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
    const auto far = [](T x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
    weights[0] = far(t + 1);
    weights[1] = near(t);
    weights[2] = near(1 - t);
    weights[3] = far(2 - t);
  }
}

template <int kTaps, class T>
HOST_DEVICE void tap_slopes(T t, T (&slopes)[kTaps]) {
  if constexpr (kTaps == 1) {
    slopes[0] = 0;
  } else if constexpr (kTaps == 2) {
    slopes[0] = -1;
    slopes[1] = 1;
  } else {
    constexpr T a = T(-0.75);
    const auto near = [](T x) { return (3 * (a + 2) * x - 2 * (a + 3)) * x; };
    const auto far = [](T x) { return (3 * a * x - 10 * a) * x + 8 * a; };
    slopes[0] = far(t + 1);
    slopes[1] = near(t);
    slopes[2] = -near(1 - t);
    slopes[3] = -far(2 - t);
  }
}

// Returns the pixel that is read at `i`, or -1 if it is absent. With kReflection, `i` must not be far
// outside.
HOST_DEVICE int64_t padded_index(int64_t i, int64_t side, Padding padding) {
  if (i >= 0 && i < side) return i;
  if (padding == Padding::kConstant) return -1;
  if (padding != Padding::kReflection) return i < 0 ? 0 : side - 1;
  while (i < 0 || i >= side) i = i < 0 ? -1 - i : 2 * side - 1 - i;
  return i;
}

// The pixels along one axis that a sample is interpolated from.
template <int kTaps, class T>
struct AxisTaps {
  int64_t at[kTaps];  // -1 for an absent tap
  T t;                // for tap_weights and tap_slopes
};

// Returns a coordinate near the input at which a reflected input is the same as at `x`, which is returned
// itself if it is not farther outside than the input is large.
template <class T>
HOST_DEVICE T reflected(T x, int64_t side) {
  const T extent = T(side), period = 2 * extent;
  if (x < -extent || x > period - 1) x -= rounded_product(period, std::floor((x + extent) / period));
  return x;
}

template <int kTaps, class T>
HOST_DEVICE AxisTaps<kTaps, T> axis_taps(T x, int64_t side, Padding padding) {
  AxisTaps<kTaps, T> taps;
  const T last = T(side - 1);
  if (padding == Padding::kReflection) {
    x = reflected(x, side);
    if constexpr (kTaps == 1) {  // so that a point halfway between two pixels is rounded as inside
      if (x < T(-0.5)) x = -1 - x;
      if (x > last + T(0.5)) x = 2 * last + 1 - x;
      if (x < T(-0.5)) x = -1 - x;
    }
  } else if (padding != Padding::kConstant) {
    x = x < -kTaps ? T(-kTaps) : x > last + kTaps ? last + kTaps : x;
  }
  const T margin = padding == Padding::kReflection ? T(side) : T(kTaps);
  // NaN, and coordinates that exceed every integer, must fail this test before they are converted.
  if (!(x >= -margin && x <= last + margin)) {
    for (int64_t& i : taps.at) i = -1;
    taps.t = 0;
    return taps;
  }
  const T first = kTaps == 1 ? std::nearbyint(x) : std::floor(x);
  taps.t = x - first;
  UNROLL
  for (int k = 0; k < kTaps; ++k)
    taps.at[k] = padded_index(int64_t(first) + k - (kTaps - 1) / 2, side, padding);
  return taps;
}

}  // namespace pose2seg
