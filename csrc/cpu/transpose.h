#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "core/dtype.h"

// Squares of kLanes pixels and kLanes channels, which are transposed in registers on their way between
// tensors whose planes are apart and vectors of the channels of one pixel.

namespace pose2seg {

// The number of values in a vector. With narrower instructions the compiler splits vectors.
constexpr int kLanes = 16;

template <class T>
struct LanesOf {
  typedef T type __attribute__((vector_size(kLanes * sizeof(T))));
};
template <class T>
using Lanes = typename LanesOf<T>::type;

// Exchanges the lanes of `a` whose number has the bit kBit with the lanes of `b` whose number lacks it.
template <int kBit, class V, int... kLane>
void exchange_lanes(V& a, V& b, std::integer_sequence<int, kLane...>) {
  const V first = __builtin_shufflevector(a, b, (kLane & kBit ? kLanes + kLane - kBit : kLane)...);
  b = __builtin_shufflevector(a, b, (kLane & kBit ? kLanes + kLane : kLane + kBit)...);
  a = first;
}

template <int kBit, class V>
void exchange_blocks(V (&square)[kLanes]) {
  for (int row = 0; row < kLanes; ++row)
    if (!(row & kBit))
      exchange_lanes<kBit>(square[row], square[row + kBit], std::make_integer_sequence<int, kLanes>());
}

// Transposes a square: its quarters, then the quarters of these, and so on.
template <class V>
void transpose(V (&square)[kLanes]) {
  static_assert(kLanes == 16);
  exchange_blocks<8>(square);
  exchange_blocks<4>(square);
  exchange_blocks<2>(square);
  exchange_blocks<1>(square);
}

// The places of a square in a tensor. Fewer channels or columns than kLanes are the first of a square.
struct SquareLayout {
  int64_t to_plane, to_column;  // in elements
  int64_t channels, columns;

  bool is_full() const { return to_column == 1 && channels == kLanes && columns == kLanes; }
};

// Reads the vector of channels of each column; what is absent becomes 0.
template <class T>
void read_square(const T* from, const SquareLayout& layout, Lanes<accumulate_t<T>> (&square)[kLanes]) {
  accumulate_t<T> values[kLanes];
  if (layout.is_full()) {
    for (int c = 0; c < kLanes; ++c) {
      for (int x = 0; x < kLanes; ++x) values[x] = accumulate_t<T>(from[c * layout.to_plane + x]);
      std::memcpy(&square[c], values, sizeof values);
    }
  } else {
    std::memset(square, 0, sizeof square);
    for (int64_t c = 0; c < layout.channels; ++c)
      for (int64_t x = 0; x < layout.columns; ++x)
        square[c][x] = accumulate_t<T>(from[c * layout.to_plane + x * layout.to_column]);
  }
  transpose(square);
}

// Writes the vector of channels of each column. The square is transposed in place.
template <class T>
void write_square(Lanes<accumulate_t<T>> (&square)[kLanes], const SquareLayout& layout, T* to) {
  transpose(square);
  if (layout.is_full()) {
    accumulate_t<T> values[kLanes];
    for (int c = 0; c < kLanes; ++c) {
      std::memcpy(values, &square[c], sizeof values);
      for (int x = 0; x < kLanes; ++x) to[c * layout.to_plane + x] = T(values[x]);
    }
  } else {
    for (int64_t c = 0; c < layout.channels; ++c)
      for (int64_t x = 0; x < layout.columns; ++x)
        to[c * layout.to_plane + x * layout.to_column] = T(square[c][x]);
  }
}

}  // namespace pose2seg
