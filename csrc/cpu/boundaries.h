#pragma once

#include <algorithm>
#include <vector>

#include "core/mask_boundaries.h"
#include "cpu/parallel.h"

namespace pose2seg {

// Fills `output` from find(mask, stripe, found), which appends the boundaries of one stripe of a mask to
// `found` in ascending order. Threads share out the stripes, so that a single mask keeps them all busy.
template <class Find>
void find_boundaries(const MaskBoundaries& output, const Find& find) {
  std::vector<std::vector<uint32_t>> found(output.masks * output.stripes);
  parallel_for(0, static_cast<int64_t>(found.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) find(i / output.stripes, i % output.stripes, found[i]);
  });
  for (int64_t mask = 0; mask < output.masks; ++mask) {
    int64_t count = 0;
    for (int64_t stripe = 0; stripe < output.stripes; ++stripe) {
      const auto& part = found[mask * output.stripes + stripe];
      const auto size = static_cast<int64_t>(part.size());
      const int64_t fitting = std::clamp<int64_t>(output.capacity - count, 0, size);
      std::copy_n(part.begin(), fitting, output.boundaries + mask * output.capacity + count);
      count += size;
    }
    output.counts[mask] = static_cast<uint32_t>(count);
  }
}

}  // namespace pose2seg
