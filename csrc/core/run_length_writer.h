#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace pose2seg {

// Encodes a length, or the difference of two, by calling append(character). Each character holds five bits,
// least significant first, and a sixth bit that is set if more characters follow. The top bit of the last
// character is the sign.
template <class Append>
HOST_DEVICE void append_length(int64_t value, const Append& append) {
  for (bool more = true; more;) {
    const int64_t bits = value & 0x1f;
    value >>= 5;
    more = (bits & 0x10) ? value != -1 : value != 0;
    append(char((more ? bits | 0x20 : bits) + '0'));
  }
}

// From this run on, a length is stored as its difference from the length two runs before.
constexpr int kFirstDifference = 3;

// Turns the boundaries of a mask into the lengths of its runs, starting with zeros, and encodes these as COCO
// characters. A run that continues from the bottom of one column to the top of the next ends and begins at
// the same position; these two boundaries cancel.
template <class Append>
class RunLengthWriter {
 public:
  explicit RunLengthWriter(const Append& append) : append_(append) {}

  void write(const uint32_t* boundaries, int64_t count, uint32_t pixels) {
    for (int64_t i = 0; i < count; ++i) {
      if (i + 1 < count && boundaries[i] == boundaries[i + 1]) {
        ++i;
      } else if (boundaries[i] < pixels) {
        length(boundaries[i] - position_);
        position_ = boundaries[i];
      }
    }
    length(pixels - position_);
  }

 private:
  void length(uint32_t value) {
    const uint32_t subtracted = index_ >= kFirstDifference ? last_two_[index_ % 2] : 0;
    last_two_[index_++ % 2] = value;
    append_length(int64_t(value) - int64_t(subtracted), append_);
  }

  const Append& append_;
  uint32_t position_ = 0;
  uint32_t last_two_[2] = {0, 0};
  int64_t index_ = 0;
};

}  // namespace pose2seg
