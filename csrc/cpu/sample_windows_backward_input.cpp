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

// Adds the gradients of output pixels to their taps in a band of the input.
template <int kBytes, class T>
void add_pixels(const PixelTaps<accumulate_t<T>>& taps, const SlabPixel<accumulate_t<T>>* grads,
                const Box& band, ChannelSlab<T>& sums) {
  using Pixel = PixelLanes<accumulate_t<T>, kBytes>;
  for (int64_t pixel = 0; pixel < taps.pixels(); ++pixel) {
    const auto grad = Pixel::read(grads[pixel]);
    for (const auto* tap = taps.begin(pixel); tap != taps.end(pixel); ++tap) {
      if (!band.has_row(tap->y)) continue;
      auto sum = Pixel::read(sums.at(tap->x, tap->y));
      sum.add(tap->weight, grad);
      sum.write(sums.at(tap->x, tap->y));
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
        std::vector<SlabPixel<Compute>> grads;
        sums.clear(band);
        for (const int64_t window : image.windows) {
          const auto sampler = window_sampler<Compute>(p, window);
          const T* grad =
              static_cast<const T*>(p.grad) + window * p.output_strides[0] + first * p.output_strides[1];
          for_each_rows(p, sampler, {0, p.out_height}, [&](Rows rows) {
            taps.find(sampler, p.sampling.interpolation, rows, p.out_width);
            grads.resize(taps.pixels());
            with_wide_instructions([&](auto bytes) {
              read_line<bytes>(grad + rows.first * p.output_strides[2], p.output_strides + 1, channels,
                               taps.pixels(), grads.data());
              add_pixels<bytes>(taps, grads.data(), band, sums);
            });
          });
        }
        T* planes = static_cast<T*>(p.grad_input) + index * p.input_strides[0] + first * p.input_strides[1];
        with_wide_instructions(
            [&](auto bytes) { sums.template write<bytes>(planes, p.input_strides + 1, channels); });
      });
}

}  // namespace

void sample_windows_backward_input_cpu(const SampleWindowsBackwardInputParams& p) {
  dispatch_floating(p.dtype, [&](auto type) { sum_all<decltype(type)>(p); });
}

}  // namespace pose2seg
