#pragma once

#include <cstdint>
#include <initializer_list>

namespace pose2seg {

// Returns whether the offset, in elements, of every element of a (N, C, H, W) tensor fits into 32 bits, which
// makes index arithmetic faster. A step along a row or a column must fit too, because the kernels take it
// even if a side has one pixel. Sizes must be positive and strides must not be negative.
inline bool fits_int32(const int64_t (&sizes)[4], const int64_t (&strides)[4]) {
  int64_t last = 0;
  for (int i = 0; i < 4; ++i) last += (sizes[i] - 1) * strides[i];
  return last <= INT32_MAX && strides[2] <= INT32_MAX && strides[3] <= INT32_MAX;
}

// Returns whether the pixels along these sides can be counted in 32 bits, with room to step and to round
// beyond the ends. This is needed if a tensor may be expanded, since its offsets then say nothing about its
// sides.
inline bool sides_fit_int32(std::initializer_list<int64_t> sides) {
  for (const int64_t side : sides)
    if (side > INT32_MAX / 2) return false;
  return true;
}

}  // namespace pose2seg
