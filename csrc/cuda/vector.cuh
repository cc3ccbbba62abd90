#pragma once

#include <cstdint>

namespace pose2seg {

constexpr int kVectorBytes = 16;  // the widest load or store of a thread
constexpr int kSectorBytes = 32;  // the unit of transfers between caches and memory

// Elements that one instruction loads or stores.
template <class T, int kCount>
struct alignas(kCount * sizeof(T)) Vector {
  T of[kCount];
};

// Whether every pixel of a (N, C, H, W) tensor consists of whole, aligned vectors of `count` elements and 16
// bytes.
inline bool has_whole_vectors(const void* data, int64_t channels, const int64_t (&strides)[4], int count) {
  return reinterpret_cast<uintptr_t>(data) % kVectorBytes == 0 && channels % count == 0 && strides[1] == 1 &&
         strides[0] % count == 0 && strides[2] % count == 0 && strides[3] % count == 0;
}

}  // namespace pose2seg
