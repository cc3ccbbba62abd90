#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

// What sampling a map and its gradient share: each pixel of a run is a weighted sum of pixels of another
// map, the same in every channel.

namespace pose2seg {

// What one task computes: the pixels [first, last) of a map, in some of its channels.
struct Task {
  int64_t map, first, last, channel, channels;
};

struct TaskSize {
  int64_t pixels, channels;
};

// All tasks, those of one run of pixels one after the other.
struct Tasks {
  int64_t maps, pixels, channels;
  TaskSize size;

  int64_t runs() const { return (pixels - 1) / size.pixels + 1; }
  int64_t slices() const { return (channels - 1) / size.channels + 1; }
  int64_t count() const { return maps * runs() * slices(); }

  Task operator[](int64_t i) const {
    const int64_t first = i / slices() % runs() * size.pixels, channel = i % slices() * size.channels;
    return {i / slices() / runs(), first, std::min(first + size.pixels, pixels), channel,
            std::min(size.channels, channels - channel)};
  }
};

template <class Compute>
struct WeightedPixel {
  int64_t offset;  // of its first channel, in elements
  Compute weight;
};

// The sums of a run of pixels: those of pixel i are [ends[i - 1], ends[i]) of `sources`.
template <class Compute>
struct WeightedPixels {
  std::vector<WeightedPixel<Compute>> sources;
  std::vector<size_t> ends;

  void clear() {
    sources.clear();
    ends.clear();
  }
  void add(int64_t offset, Compute weight) { sources.push_back({offset, weight}); }
  void end_pixel() { ends.push_back(sources.size()); }
};

template <class Compute>
struct WeightedSum {
  const WeightedPixel<Compute>* first;
  int64_t count;
};

// Where the sums go: pixels at equal distances.
template <class T>
struct PixelRun {
  T* data;
  int64_t channels, channel_stride, pixel_stride;
};

// `strides`: N, C, H, W, of rows that follow each other without a gap.
template <class T>
PixelRun<T> pixels_of_task(void* data, const int64_t (&strides)[4], const Task& task) {
  return {static_cast<T*>(data) + task.map * strides[0] + task.channel * strides[1] + task.first * strides[3],
          task.channels, strides[1], strides[3]};
}

// sum (+)= the next `Sources` sources, over channels that lie next to each other.
template <int Sources, class T, class Compute>
void add_sources(const WeightedPixel<Compute>* source, const T* from, bool first, Compute* __restrict sum,
                 int64_t channels) {
  const T* value[Sources];
  Compute weight[Sources];
  for (int k = 0; k < Sources; ++k) {
    value[k] = from + source[k].offset;
    weight[k] = source[k].weight;
  }
  const auto add_to = [&](Compute total, int64_t c) {
    for (int k = 0; k < Sources; ++k) total += weight[k] * Compute(value[k][c]);
    return total;
  };
  if (first) {
    for (int64_t c = 0; c < channels; ++c) sum[c] = add_to(0, c);
  } else {
    for (int64_t c = 0; c < channels; ++c) sum[c] = add_to(sum[c], c);
  }
}

// One pixel whose channels, and those of its sources, lie next to each other.
template <class T, class Compute>
void store_weighted_vector(WeightedSum<Compute> sources, const T* from, T* to, int64_t channels) {
  constexpr int64_t kBlock = 512;
  constexpr bool in_place = std::is_same_v<T, Compute>;
  Compute buffer[in_place ? 1 : kBlock];
  for (int64_t c = 0; c < channels; c += kBlock) {
    const int64_t count = std::min(kBlock, channels - c);
    Compute* sum = buffer;
    if constexpr (in_place) sum = to + c;
    if (sources.count == 0) std::fill_n(sum, count, Compute(0));
    for (int64_t k = 0; k < sources.count; k += 4) {
      const auto source = sources.first + k;
      switch (sources.count - k) {
        case 1: add_sources<1>(source, from + c, k == 0, sum, count); break;
        case 2: add_sources<2>(source, from + c, k == 0, sum, count); break;
        case 3: add_sources<3>(source, from + c, k == 0, sum, count); break;
        default: add_sources<4>(source, from + c, k == 0, sum, count);
      }
    }
    if constexpr (!in_place) std::copy_n(sum, count, to + c);
  }
}

// `Channels` planes of one pixel.
template <int Channels, class T, class Compute>
void store_weighted_planes(WeightedSum<Compute> sources, const T* from, int64_t from_stride, T* to,
                           int64_t to_stride) {
  Compute sum[Channels] = {};
  for (int64_t k = 0; k < sources.count; ++k) {
    const T* value = from + sources.first[k].offset;
    for (int c = 0; c < Channels; ++c) sum[c] += sources.first[k].weight * Compute(value[c * from_stride]);
  }
  for (int c = 0; c < Channels; ++c) to[c * to_stride] = T(sum[c]);
}

// Planes go by fours, whose rows stay in the first cache even where all planes share its sets.
template <class T, class Compute>
void store_weighted_pixels(const WeightedPixels<Compute>& pixels, const T* from, int64_t from_stride,
                           const PixelRun<T>& to) {
  constexpr int kPlanes = 4;
  const auto for_each_pixel = [&](const auto& store) {
    size_t first = 0;
    T* pixel = to.data;
    for (const size_t end : pixels.ends) {
      store(WeightedSum<Compute>{pixels.sources.data() + first, int64_t(end - first)}, pixel);
      first = end;
      pixel += to.pixel_stride;
    }
  };
  if (from_stride == 1 && to.channel_stride == 1) {
    for_each_pixel([&](auto sources, T* pixel) { store_weighted_vector(sources, from, pixel, to.channels); });
    return;
  }
  int64_t c = 0;
  const auto store_planes = [&](auto planes) {
    for_each_pixel([&](auto sources, T* pixel) {
      store_weighted_planes<planes>(sources, from + c * from_stride, from_stride,
                                    pixel + c * to.channel_stride, to.channel_stride);
    });
    c += planes;
  };
  while (c + kPlanes <= to.channels) store_planes(std::integral_constant<int, kPlanes>());
  while (c < to.channels) store_planes(std::integral_constant<int, 1>());
}

}  // namespace pose2seg
