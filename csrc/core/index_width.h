#pragma once

#include <cstdint>

namespace pose2seg {

// Whether the offset in elements of every element of a (N, C, H, W) tensor fits 32 bits, with which kernels
// calculate quicker. Sizes are positive, strides not negative.
inline bool fits_int32(const int64_t (&sizes)[4], const int64_t (&strides)[4]) {
  int64_t last = 0;
  for (int i = 0; i < 4; ++i) last += (sizes[i] - 1) * strides[i];
  return last <= INT32_MAX;
}

}  // namespace pose2seg
