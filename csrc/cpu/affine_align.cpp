#include "core/affine_align.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "core/bilinear.h"
#include "cpu/dispatch.h"
#include "cpu/weighted_pixels.h"

// Reads the four taps of every output pixel, writes each output once. Threads share out runs of output
// pixels of one instance. The geometry of a run is worked out once and serves all its channels.

namespace pose2seg {
namespace {

// What one task computes. Planes want long runs, so that a cache line of the input is fetched once for all
// the output rows that a rotated window crosses it with; channels that lie next to each other need none.
struct Task {
  int64_t pixels, channels;
};
constexpr Task kPlanesTask = {4096, 64}, kChannelsLastTask = {512, INT64_MAX};

template <class Compute>
void find_taps(const AffineAlignParams& p, int64_t instance, int64_t first, int64_t last,
               WeightedPixels<Compute>& taps) {
  taps.clear();
  const int64_t image = p.batch_index[instance];
  const bool readable = image >= 0 && image < p.batch;
  const auto forward = load_affine(static_cast<const Compute*>(p.matrices) + instance * 6);
  const auto to_input = affine_cast<Compute>(sampling_transform(forward, p.convention, p.height, p.width));
  for (int64_t pixel = first; pixel < last; ++pixel) {
    const auto column = Compute(pixel % p.out_width), row = Compute(pixel / p.out_width);
    if (readable)
      bilinear_taps(to_input.x(column, row), to_input.y(column, row), p.height, p.width)
          .visit([&](int64_t x, int64_t y, Compute weight) {
            taps.add(image * p.input_strides[0] + y * p.input_strides[2] + x * p.input_strides[3], weight);
          });
    taps.end_pixel();
  }
}

}  // namespace

void affine_align_cpu(const AffineAlignParams& p) {
  const bool channels_last = p.input_strides[1] == 1 && p.output_strides[1] == 1;
  const Task task = channels_last ? kChannelsLastTask : kPlanesTask;
  const int64_t pixels = p.out_height * p.out_width, runs = (pixels - 1) / task.pixels + 1;
  const int64_t slices = (p.channels - 1) / task.channels + 1;
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, p.instances * runs * slices, 1, [&](int64_t begin, int64_t end) {
      WeightedPixels<accumulate_t<T>> taps;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t instance = i / slices / runs, first = i / slices % runs * task.pixels;
        const int64_t channel = i % slices * task.channels;
        find_taps(p, instance, first, std::min(first + task.pixels, pixels), taps);
        const T* input = static_cast<const T*>(p.input) + channel * p.input_strides[1];
        T* output = static_cast<T*>(p.output) + instance * p.output_strides[0] +
                    channel * p.output_strides[1] + first * p.output_strides[3];
        const int64_t channels = std::min(task.channels, p.channels - channel);
        store_weighted_pixels<T>(taps, input, p.input_strides[1],
                                 {output, channels, p.output_strides[1], p.output_strides[3]});
      }
    });
  });
}

}  // namespace pose2seg
