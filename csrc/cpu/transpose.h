#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "core/dtype.h"
#include "cpu/lanes.h"

// Squares of kLanes pixels and kLanes channels, which are transposed in registers on their way between
// tensors whose planes are apart and vectors of the channels of one pixel.

namespace pose2seg {

// Exchanges the lanes of `a` whose number has the bit kBit with the lanes of `b` whose number lacks it.
template <int kBit, class Register, int... kLane>
void exchange_in_register(Register& a, Register& b, std::integer_sequence<int, kLane...>) {
  constexpr int kCount = sizeof...(kLane);
  const Register first = __builtin_shufflevector(a, b, (kLane & kBit ? kCount + kLane - kBit : kLane)...);
  b = __builtin_shufflevector(a, b, (kLane & kBit ? kCount + kLane : kLane + kBit)...);
  a = first;
}

template <int kBit, class V>
void exchange_lanes(V& a, V& b) {
  for (int r = 0; r < V::kRegisters; ++r)
    if constexpr (kBit < V::kOfRegister)
      exchange_in_register<kBit>(a.of[r], b.of[r], std::make_integer_sequence<int, V::kOfRegister>());
    else if (r * V::kOfRegister & kBit)
      std::swap(a.of[r], b.of[r - kBit / V::kOfRegister]);
}

template <int kBit, class V>
void exchange_blocks(V (&square)[kLanes]) {
  for (int row = 0; row < kLanes; ++row)
    if (!(row & kBit)) exchange_lanes<kBit>(square[row], square[row + kBit]);
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
template <class T, int kBytes>
void read_square(const T* from, const SquareLayout& layout,
                 Lanes<accumulate_t<T>, kBytes> (&square)[kLanes]) {
  using Compute = accumulate_t<T>;
  Compute values[kLanes][kLanes];
  if (layout.is_full()) {
    for (int c = 0; c < kLanes; ++c)
      for (int x = 0; x < kLanes; ++x) values[c][x] = Compute(from[c * layout.to_plane + x]);
  } else {
    std::memset(values, 0, sizeof values);
    for (int64_t c = 0; c < layout.channels; ++c)
      for (int64_t x = 0; x < layout.columns; ++x)
        values[c][x] = Compute(from[c * layout.to_plane + x * layout.to_column]);
  }
  for (int c = 0; c < kLanes; ++c) square[c] = Lanes<Compute, kBytes>::read(values[c]);
  transpose(square);
}

// Writes the vector of channels of each column. The square is transposed in place.
template <class T, int kBytes>
void write_square(Lanes<accumulate_t<T>, kBytes> (&square)[kLanes], const SquareLayout& layout, T* to) {
  transpose(square);
  accumulate_t<T> values[kLanes][kLanes];
  for (int c = 0; c < kLanes; ++c) square[c].write(values[c]);
  if (layout.is_full()) {
    for (int c = 0; c < kLanes; ++c)
      for (int x = 0; x < kLanes; ++x) to[c * layout.to_plane + x] = T(values[c][x]);
  } else {
    for (int64_t c = 0; c < layout.channels; ++c)
      for (int64_t x = 0; x < layout.columns; ++x)
        to[c * layout.to_plane + x * layout.to_column] = T(values[c][x]);
  }
}

}  // namespace pose2seg
