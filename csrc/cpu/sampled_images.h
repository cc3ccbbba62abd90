#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/channel_slab.h"
#include "cpu/parallel.h"
#include "cpu/pixel_taps.h"

namespace pose2seg {

// The windows of each image, and what they read of it.
struct SampledImage {
  std::vector<int64_t> windows;  // in ascending order
  Box box;                       // of the pixels that are read
  size_t taps = 0;               // of all windows
};

template <class T>
std::vector<SampledImage> sampled_images(const SampledWindows& p) {
  struct Window {
    Box box;
    size_t taps = 0;
  };
  std::vector<Window> windows(p.instances);
  parallel_for(0, p.instances, 1, [&](int64_t begin, int64_t end) {
    PixelTaps<T> taps;
    for (int64_t n = begin; n < end; ++n) {
      const auto sampler = window_sampler<T>(p, n);
      for_each_rows(p, sampler, {0, p.out_height}, [&](Rows rows) {
        taps.find(sampler, p.sampling.interpolation, rows, p.out_width);
        taps.add_to(windows[n].box);
        windows[n].taps += taps.count();
      });
    }
  });
  std::vector<SampledImage> images(p.batch);
  for (int64_t n = 0; n < p.instances; ++n) {
    if (!p.has_image(p.batch_index[n])) continue;
    SampledImage& image = images[p.batch_index[n]];
    image.windows.push_back(n);
    image.box.add(windows[n].box);
    image.taps += windows[n].taps;
  }
  return images;
}

// Calls body(image, band, index, first channel, channels, slab) for the slabs of all images that windows
// read, on several threads. A band is a part of the image's box that a slab can hold: all of it, unless it is
// large.
template <class T, class Body>
void for_each_slab(const SampledWindows& p, const std::vector<SampledImage>& images, const Body& body) {
  const int64_t slabs = (p.channels - 1) / kSlabChannels + 1;
  parallel_for(0, p.batch * slabs, 1, [&](int64_t begin, int64_t end) {
    ChannelSlab<T> slab;
    for (int64_t i = begin; i < end; ++i) {
      const SampledImage& image = images[i / slabs];
      if (image.box.is_empty()) continue;
      const int64_t first = i % slabs * kSlabChannels;
      const int64_t rows = std::max<int64_t>(1, kMostSlabPixels / image.box.width());
      for (Box band = image.box; band.top < image.box.bottom; band.top = band.bottom) {
        band.bottom = std::min(band.top + rows, image.box.bottom);
        body(image, band, i / slabs, first, std::min<int64_t>(kSlabChannels, p.channels - first), slab);
      }
    }
  });
}

}  // namespace pose2seg
