#include "core/affine_align.h"

#include <ATen/Parallel.h>

#include <cstdint>

#include "core/bilinear.h"
#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/weighted_pixels.h"

// Reads the four taps of every output pixel, writes each output once. Threads share out runs of output
// pixels of one instance. The geometry of a run is worked out once and serves all its channels.

namespace pose2seg {
namespace {

// Planes want long runs, so that a cache line of the input is fetched once for all the output rows that a
// rotated window crosses it with; channels that lie next to each other need none.
constexpr TaskSize kPlanesTask = {4096, 64}, kChannelsLastTask = {512, INT64_MAX};

template <class Compute>
void find_taps(const AffineAlignParams& p, const Task& task, WeightedPixels<Compute>& taps) {
  taps.clear();
  const int64_t image = p.batch_index[task.map];
  const bool readable = image >= 0 && image < p.batch;
  const auto forward = load_affine(static_cast<const Compute*>(p.matrices) + task.map * 6);
  const auto to_input = affine_cast<Compute>(sampling_transform(forward, p.convention, p.height, p.width));
  for (int64_t pixel = task.first; pixel < task.last; ++pixel) {
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
  const Tasks tasks = {p.instances, p.out_height * p.out_width, p.channels,
                       channels_last ? kChannelsLastTask : kPlanesTask};
  dispatch_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, tasks.count(), 1, [&](int64_t begin, int64_t end) {
      WeightedPixels<accumulate_t<T>> taps;
      for (int64_t i = begin; i < end; ++i) {
        const Task task = tasks[i];
        find_taps(p, task, taps);
        const T* input = static_cast<const T*>(p.input) + task.channel * p.input_strides[1];
        with_wide_instructions([&] {
          store_weighted_pixels<T>(taps, input, p.input_strides[1],
                                   pixels_of_task<T>(p.output, p.output_strides, task));
        });
      }
    });
  });
}

}  // namespace pose2seg
