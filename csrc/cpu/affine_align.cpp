#include "core/affine_align.h"

#include <ATen/Parallel.h>

#include <vector>

#include "core/bilinear.h"
#include "cpu/dispatch.h"

// Reads the four taps of every output pixel, writes each output once. Threads share out the output rows.
// The geometry of a row is worked out once and serves all channels; the inner loop runs over channels when
// they lie next to each other in memory, else over the pixels of the row.

namespace pose2seg {
namespace {

template <class T>
void align_row(const AffineAlignParams& p, int64_t instance, int64_t row,
               std::vector<BilinearTaps<accumulate_t<T>>>& taps) {
  using Compute = accumulate_t<T>;
  const int64_t image = p.batch_index[instance];
  const bool readable = image >= 0 && image < p.batch;
  const auto forward = load_affine(static_cast<const Compute*>(p.matrices) + instance * 6);
  const auto to_input = affine_cast<Compute>(sampling_transform(forward, p.convention, p.height, p.width));
  for (int64_t column = 0; column < p.out_width; ++column) {
    const Compute x = to_input.x(Compute(column), Compute(row)),
                  y = to_input.y(Compute(column), Compute(row));
    taps[column] = readable ? bilinear_taps(x, y, p.height, p.width) : BilinearTaps<Compute>{};
  }

  const T* input = static_cast<const T*>(p.input) + (readable ? image : 0) * p.input_strides[0];
  T* output = static_cast<T*>(p.output) + instance * p.output_strides[0] + row * p.output_strides[2];
  const auto sample = [&](int64_t channel, int64_t column) {
    const T* plane = input + channel * p.input_strides[1];
    const auto value = [&](int64_t x, int64_t y) {
      return Compute(plane[y * p.input_strides[2] + x * p.input_strides[3]]);
    };
    output[channel * p.output_strides[1] + column * p.output_strides[3]] = T(taps[column].interpolate(value));
  };
  if (p.output_strides[1] == 1) {
    for (int64_t column = 0; column < p.out_width; ++column)
      for (int64_t channel = 0; channel < p.channels; ++channel) sample(channel, column);
  } else {
    for (int64_t channel = 0; channel < p.channels; ++channel)
      for (int64_t column = 0; column < p.out_width; ++column) sample(channel, column);
  }
}

}  // namespace

void affine_align_cpu(const AffineAlignParams& params) {
  dispatch_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, params.instances * params.out_height, 1, [&](int64_t begin, int64_t end) {
      std::vector<BilinearTaps<accumulate_t<T>>> taps(params.out_width);
      for (int64_t i = begin; i < end; ++i)
        align_row<T>(params, i / params.out_height, i % params.out_height, taps);
    });
  });
}

}  // namespace pose2seg
