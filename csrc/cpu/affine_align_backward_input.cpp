#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/affine_align_backward.h"
#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/weighted_pixels.h"

// Reads every gradient of the output once for each of its taps, writes each gradient of the input once, as a
// sum in a fixed order. Threads share out runs of input pixels; which output pixels have a tap on them is
// worked out once for all channels of a run.

namespace pose2seg {
namespace {

// As in affine_align.cpp; here each pixel takes more looking.
constexpr TaskSize kPlanesTask = {1024, 64}, kChannelsLastTask = {256, INT64_MAX};

template <class Compute>
void find_sources(const AffineAlignBackwardInputParams& p, const Task& task, std::vector<int64_t>& nearby,
                  WeightedPixels<Compute>& sources) {
  const auto footprint = [&](int64_t n) -> const auto& { return p.footprint<Compute>(n); };
  nearby.clear();
  for (int64_t n = 0; n < p.instances; ++n)
    if (p.batch_index[n] == task.map &&
        footprint(n).overlaps(int64_t(0), p.width - 1, task.first / p.width, (task.last - 1) / p.width))
      nearby.push_back(n);
  sources.clear();
  for (int64_t pixel = task.first; pixel < task.last; ++pixel) {
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
  const Tasks tasks = {p.batch, p.height * p.width, p.channels,
                       channels_last ? kChannelsLastTask : kPlanesTask};
  // Dealt out one by one: instances cover a part of the map, and elsewhere there is little to do.
  const int64_t hands = std::min<int64_t>(at::get_num_threads(), tasks.count());
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    using Compute = accumulate_t<T>;
    for (int64_t n = 0; n < p.instances; ++n) p.find_footprint<Compute>(n);
    at::parallel_for(0, hands, 1, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> nearby;
      WeightedPixels<Compute> sources;
      for (int64_t hand = begin; hand < end; ++hand)
        for (int64_t i = hand; i < tasks.count(); i += hands) {
          const Task task = tasks[i];
          find_sources(p, task, nearby, sources);
          const T* grad = static_cast<const T*>(p.grad) + task.channel * p.grad_strides[1];
          with_wide_instructions([&] {
            store_weighted_pixels<T>(sources, grad, p.grad_strides[1],
                                     pixels_of_task<T>(p.grad_input, p.grad_input_strides, task));
          });
        }
    });
  });
}

}  // namespace pose2seg
