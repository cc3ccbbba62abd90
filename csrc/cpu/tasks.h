#pragma once

#include <algorithm>
#include <cstdint>

namespace pose2seg {

// The work of one task: the rows [first, last) of a map, in some of its channels.
struct Task {
  int64_t map, first, last, channel, channels;
};

// All tasks; they are the same for any number of threads. Tasks of the same channels are consecutive, since
// the maps may be windows of one image, whose planes are then in cache.
struct Tasks {
  int64_t maps, rows, channels;
  int64_t rows_each, channels_each;

  int64_t bands() const { return (rows - 1) / rows_each + 1; }
  int64_t slices() const { return (channels - 1) / channels_each + 1; }
  int64_t count() const { return slices() * maps * bands(); }

  Task operator[](int64_t i) const {
    const int64_t first = i % bands() * rows_each, channel = i / bands() / maps * channels_each;
    return {i / bands() % maps, first, std::min(first + rows_each, rows), channel,
            std::min(channels_each, channels - channel)};
  }
};

// Divides windows into tasks: long bands of a few planes, which are sampled one after the other, or short
// bands of all channels if the channels are adjacent in memory.
inline Tasks window_tasks(int64_t windows, int64_t height, int64_t width, int64_t channels,
                          bool channels_last) {
  const int64_t pixels = channels_last ? 512 : 4096;
  return {windows, height, channels, std::clamp<int64_t>(pixels / width, 1, height),
          channels_last ? channels : 16};
}

}  // namespace pose2seg
