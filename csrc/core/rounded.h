#pragma once

#include <cmath>
#include <type_traits>

#include "core/host_device.h"

namespace pose2seg {

// Returns a * b, rounded before anything is added to it. It is for values that decide something: the taps of
// a sample, a tie, a bound. Otherwise nvcc may fuse the multiplication and the addition in one kernel and not
// in another, which would then decide differently. (The CPU code is compiled with -ffp-contract=off.)
template <class T>
HOST_DEVICE T rounded_product(T a, T b) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, double>)
    return __dmul_rn(a, b);
  else
    return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

// Returns a * b + c, rounded once. It serves the same purpose where a separate product would cost too much.
template <class T>
HOST_DEVICE T fused(T a, T b, T c) {
  return std::fma(a, b, c);
}

}  // namespace pose2seg
