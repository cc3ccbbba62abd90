#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "core/mask_boundaries.h"
#include "core/run_length_writer.h"
#include "cpu/parallel.h"

namespace pose2seg {

// Fills `output.encoded` by calling find(mask, stripe, part), which appends the boundaries of one stripe of a
// mask to `part` in ascending order; stripes(mask) are those that have any, and pixels(mask) is the size of
// the mask. The work is divided by stripes, so that a single mask keeps all threads busy.
template <class Stripes, class Pixels, class Find>
void encode_boundaries(const MaskBoundaries& output, const Stripes& stripes, const Pixels& pixels,
                       const Find& find) {
  std::vector<int64_t> starts{0};  // mask i has the parts from starts[i] to starts[i + 1]
  for (int64_t mask = 0; mask < output.masks; ++mask) starts.push_back(starts.back() + stripes(mask).count);
  std::vector<std::vector<uint32_t>> parts(starts.back());
  parallel_for(0, starts.back(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t mask = std::upper_bound(starts.begin(), starts.end(), i) - starts.begin() - 1;
      find(mask, stripes(mask).first + i - starts[mask], parts[i]);
    }
  });
  parallel_for(0, output.masks, 16, [&](int64_t begin, int64_t end) {
    for (int64_t mask = begin; mask < end; ++mask) {
      std::vector<uint32_t> found;
      for (int64_t i = starts[mask]; i < starts[mask + 1]; ++i) {
        const std::vector<uint32_t> part = std::move(parts[i]);
        found.insert(found.end(), part.begin(), part.end());
      }
      const auto append = [&](char character) { output.encoded[mask].push_back(character); };
      RunLengthWriter(append).write(found.data(), int64_t(found.size()), uint32_t(pixels(mask)));
    }
  });
}

}  // namespace pose2seg
