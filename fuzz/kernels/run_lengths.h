#pragma once

#include "arguments.h"

namespace fuzz {

// Masks (N, H, W) of 0 and 1 from COCO's run lengths, whose lengths must be those of whole masks.
inline at::Tensor decode(const at::Tensor& characters, const at::Tensor& lengths, int64_t height,
                         int64_t width) {
  const at::Tensor columns = at::zeros({lengths.size(0), width, height}, at::kByte);
  const uint8_t* next = characters.const_data_ptr<uint8_t>();
  for (int64_t mask = 0; mask < lengths.size(0); ++mask) {
    const uint8_t* end = next + lengths.const_data_ptr<int64_t>()[mask];
    std::vector<int64_t> runs;
    int64_t position = 0;
    while (next < end) {
      int64_t run = 0, shift = 0;
      for (bool more = true; more; shift += 5) {
        require(next < end && *next >= '0' && *next < '0' + 64, "characters are those of whole numbers");
        const int64_t bits = *next++ - '0';
        more = bits & 0x20;
        run |= (bits & 0x1f) << shift;
        if (!more && (bits & 0x10)) run -= int64_t(1) << (shift + 5);
      }
      if (runs.size() > 2) run += runs[runs.size() - 2];
      require(run >= 0 && position + run <= height * width, "runs stay in the mask");
      if (runs.size() % 2) columns[mask].view(-1).narrow(0, position, run).fill_(1);
      position += run;
      runs.push_back(run);
    }
    require(position == height * width, "runs add up to the mask");
  }
  require(next == characters.const_data_ptr<uint8_t>() + characters.numel(), "no characters are left over");
  return columns.transpose(1, 2);
}

}  // namespace fuzz
