#pragma once

namespace pose2seg {

constexpr int kVectorBytes = 16;  // the widest load and store of a thread
constexpr int kSectorBytes = 32;  // the least that moves between the caches and memory

// Elements that are loaded and stored by one instruction.
template <class T, int kCount>
struct alignas(kCount * sizeof(T)) Vector {
  T of[kCount];
};

}  // namespace pose2seg
