#pragma once

#include <cstdint>
#include <initializer_list>

namespace pose2seg {

// Whether the offset in elements of every element of a (N, C, H, W) tensor fits 32 bits, with which kernels
// calculate quicker; and a step along a row or a column, which they also take where a side is of one pixel.
// Sizes are positive, strides not negative.
inline bool fits_int32(const int64_t (&sizes)[4], const int64_t (&strides)[4]) {
  int64_t last = 0;
  for (int i = 0; i < 4; ++i) last += (sizes[i] - 1) * strides[i];
  return last <= INT32_MAX && strides[2] <= INT32_MAX && strides[3] <= INT32_MAX;
}

// Whether 32 bits count along these sides, with room to step and to round beyond their ends. For where a
// tensor may be expanded, so that its offsets say nothing of its sides.
inline bool sides_fit_int32(std::initializer_list<int64_t> sides) {
  for (const int64_t side : sides)
    if (side > INT32_MAX / 2) return false;
  return true;
}

}  // namespace pose2seg
