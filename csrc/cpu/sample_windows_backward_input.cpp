#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/sample_windows.h"
#include "cpu/channel_slab.h"
#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/parallel.h"
#include "cpu/pixel_taps.h"
#include "cpu/sampled_images.h"

// Adds the gradients of all windows of an image to a slab of its channels in a fixed order, one window at a
// time, pixel by pixel. Threads divide the images and their channels.

namespace pose2seg {
namespace {

// Adds the gradients of a row of a window to the pixels of a band.
template <class T>
void add_row(const SampleWindowsBackwardInputParams& p, const PixelTaps<accumulate_t<T>>& taps, const T* grad,
             int64_t channels, const Box& band, ChannelSlab<T>& sums) {
  for (int64_t begin = 0; begin < p.out_width; begin += kLanes) {
    const int64_t columns = std::min<int64_t>(kLanes, p.out_width - begin);
    for (int v = 0; v < kSlabVectors && v * kLanes < channels; ++v) {
      const int64_t first = v * kLanes;
      const SquareLayout layout = {p.output_strides[1], p.output_strides[3],
                                   std::min<int64_t>(kLanes, channels - first), columns};
      Lanes<accumulate_t<T>> square[kLanes];
      read_pixels(grad + first * p.output_strides[1] + begin * p.output_strides[3], layout, square);
      for (int64_t x = 0; x < columns; ++x)
        for (const auto* tap = taps.begin(begin + x); tap != taps.end(begin + x); ++tap)
          if (band.has_row(tap->y)) sums.at(tap->x, tap->y).of[v] += tap->weight * square[x];
    }
  }
}

template <class T>
void sum_all(const SampleWindowsBackwardInputParams& p) {
  using Compute = accumulate_t<T>;
  parallel_for(0, p.batch * p.channels * p.height * p.width, 1 << 16, [&](int64_t begin, int64_t end) {
    std::fill(static_cast<T*>(p.grad_input) + begin, static_cast<T*>(p.grad_input) + end, T());
  });
  const auto images = sampled_images<Compute>(p);
  for_each_slab<T>(
      p, images,
      [&](const SampledImage& image, const Box& band, int64_t index, int64_t first, int64_t channels,
          ChannelSlab<T>& sums) {
        PixelTaps<Compute> taps;
        sums.clear(band);
        for (const int64_t window : image.windows) {
          const auto sampler = window_sampler<Compute>(p, window);
          const T* grad =
              static_cast<const T*>(p.grad) + window * p.output_strides[0] + first * p.output_strides[1];
          for (int64_t row = 0; row < p.out_height; ++row) {
            taps.find(sampler, p.sampling.interpolation, row, p.out_width);
            with_wide_instructions(
                [&] { add_row(p, taps, grad + row * p.output_strides[2], channels, band, sums); });
          }
        }
        T* planes = static_cast<T*>(p.grad_input) + index * p.input_strides[0] + first * p.input_strides[1];
        with_wide_instructions([&] { sums.write(planes, p.input_strides + 1, channels); });
      });
}

}  // namespace

void sample_windows_backward_input_cpu(const SampleWindowsBackwardInputParams& p) {
  dispatch_floating(p.dtype, [&](auto type) { sum_all<decltype(type)>(p); });
}

}  // namespace pose2seg
