#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/affine_align_backward.h"
#include "cpu/dispatch.h"
#include "cpu/weighted_pixels.h"

// Reads every gradient of the output once for each of its taps, writes each gradient of the input once, as a
// sum in a fixed order. Threads share out runs of input pixels; which output pixels have a tap on them is
// worked out once for all channels of a run.

namespace pose2seg {
namespace {

// What one task computes; see affine_align.cpp.
struct Task {
  int64_t pixels, channels;
};
constexpr Task kPlanesTask = {1024, 64}, kChannelsLastTask = {256, INT64_MAX};

template <class Compute>
void find_sources(const AffineAlignBackwardInputParams& p, int64_t image, int64_t first, int64_t last,
                  std::vector<int64_t>& nearby, WeightedPixels<Compute>& sources) {
  const auto footprint = [&](int64_t n) -> const auto& { return p.footprint<Compute>(n); };
  nearby.clear();
  for (int64_t n = 0; n < p.instances; ++n)
    if (p.batch_index[n] == image &&
        footprint(n).overlaps(int64_t(0), p.width - 1, first / p.width, (last - 1) / p.width))
      nearby.push_back(n);
  sources.clear();
  for (int64_t pixel = first; pixel < last; ++pixel) {
    const int64_t u = pixel % p.width, v = pixel / p.width;
    for (const int64_t n : nearby)
      if (footprint(n).overlaps(u, u, v, v))
        footprint(n).visit(u, v, [&](int64_t column, int64_t row, Compute weight) {
          sources.add(n * p.grad_strides[0] + row * p.grad_strides[2] + column * p.grad_strides[3], weight);
        });
    sources.end_pixel();
  }
}

}  // namespace

void affine_align_backward_input_cpu(const AffineAlignBackwardInputParams& p) {
  const bool channels_last = p.grad_strides[1] == 1 && p.grad_input_strides[1] == 1;
  const Task task = channels_last ? kChannelsLastTask : kPlanesTask;
  const int64_t pixels = p.height * p.width, runs = (pixels - 1) / task.pixels + 1;
  const int64_t slices = (p.channels - 1) / task.channels + 1, tasks = p.batch * runs * slices;
  // Dealt out one by one: instances cover a part of the map, and elsewhere there is little to do.
  const int64_t hands = std::min<int64_t>(at::get_num_threads(), tasks);
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    using Compute = accumulate_t<T>;
    for (int64_t n = 0; n < p.instances; ++n) p.find_footprint<Compute>(n);
    at::parallel_for(0, hands, 1, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> nearby;
      WeightedPixels<Compute> sources;
      for (int64_t hand = begin; hand < end; ++hand)
        for (int64_t i = hand; i < tasks; i += hands) {
          const int64_t image = i / slices / runs, first = i / slices % runs * task.pixels;
          const int64_t channel = i % slices * task.channels;
          find_sources(p, image, first, std::min(first + task.pixels, pixels), nearby, sources);
          const T* grad = static_cast<const T*>(p.grad) + channel * p.grad_strides[1];
          T* grad_input = static_cast<T*>(p.grad_input) + image * p.grad_input_strides[0] +
                          channel * p.grad_input_strides[1] + first * p.grad_input_strides[3];
          const int64_t channels = std::min(task.channels, p.channels - channel);
          store_weighted_pixels<T>(sources, grad, p.grad_strides[1],
                                   {grad_input, channels, p.grad_input_strides[1], p.grad_input_strides[3]});
        }
    });
  });
}

}  // namespace pose2seg
