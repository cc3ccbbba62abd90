#pragma once

#include <string>

#include "arguments.h"

namespace fuzz {

// Decodes bool masks (N, H, W) from COCO run lengths, which must describe whole masks.
inline Tensor decode(const std::vector<std::string>& encoded, int64_t height, int64_t width) {
  const auto masks = static_cast<int64_t>(encoded.size());
  const Tensor columns = make({masks, width, height}, kBool, [](int64_t) { return false; });
  for (int64_t mask = 0; mask < masks; ++mask) {
    const std::string& characters = encoded[mask];
    std::vector<int64_t> runs;
    int64_t position = 0;
    for (size_t next = 0; next < characters.size();) {
      int64_t run = 0, shift = 0;
      for (bool more = true; more; shift += 5) {
        require(next < characters.size() && characters[next] >= '0' && characters[next] < '0' + 64,
                "characters encode complete numbers");
        const int64_t bits = characters[next++] - '0';
        more = bits & 0x20;
        run |= (bits & 0x1f) << shift;
        if (!more && (bits & 0x10)) run -= int64_t(1) << (shift + 5);
      }
      if (runs.size() > 2) run += runs[runs.size() - 2];
      require(run >= 0 && position + run <= height * width, "runs stay in the mask");
      if (runs.size() % 2)
        std::fill_n(columns.mutable_data<bool>() + mask * height * width + position, run, true);
      position += run;
      runs.push_back(run);
    }
    require(position == height * width, "runs add up to the mask");
  }
  return move_dimension(columns, 2, 1);
}

}  // namespace fuzz
