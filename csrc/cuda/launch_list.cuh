#pragma once

#include <algorithm>
#include <cstdint>

namespace pose2seg {

// A piece of a list that is known on the host. It is passed as a kernel argument, so that no launch waits for
// a copy. Kernel arguments are limited to 4 KiB, which limits kCount.
template <class T, int64_t kCount>
struct LaunchList {
  T items[kCount];

  // Calls body(list, first, count) for up to kCount of `total` items at a time.
  template <class Body>
  static void for_each(const T* items, int64_t total, const Body& body) {
    for (int64_t first = 0; first < total; first += kCount) {
      const int64_t count = std::min(kCount, total - first);
      LaunchList list = {};
      std::copy_n(items + first, count, list.items);
      body(list, first, count);
    }
  }
};

}  // namespace pose2seg
