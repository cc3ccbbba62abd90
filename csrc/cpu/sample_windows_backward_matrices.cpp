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

// The gradient of a sampled position is the sum over its taps of the slope of their weights times the product
// of the output gradient and the input, summed over the channels. Threads divide the images and slabs of
// their channels; the sums of the slabs are added in order.

namespace pose2seg {
namespace {

// The samples of the output pixels of a row, and the slopes of the weights of their taps.
template <class T>
class SampleSlopes {
 public:
  struct Tap {
    int64_t x, y;
    T along_x, along_y;
  };
  struct Sample {
    typename WindowSampler<T>::Sample at;
    int64_t column;
    size_t end;  // of its taps
  };

  void find(const WindowSampler<T>& sampler, Interpolation interpolation, int64_t row, int64_t columns) {
    taps_.clear();
    samples_.clear();
    dispatch_taps(interpolation, [&](auto count) {
      for (int64_t column = 0; column < columns; ++column)
        sampler.visit(column, row, [&](const auto& at) {
          sampler.template visit_slopes<count>(at, [&](int64_t x, int64_t y, T along_x, T along_y) {
            taps_.push_back({x, y, along_x, along_y});
          });
          samples_.push_back({at, column, taps_.size()});
        });
    });
  }

  const std::vector<Sample>& samples() const { return samples_; }
  const Tap* taps() const { return taps_.data(); }

 private:
  std::vector<Tap> taps_;
  std::vector<Sample> samples_;
};

template <class Compute>
Compute sum_of(const SlabPixel<Compute>& pixel) {
  Compute sum = 0;
  for (const Compute value : pixel.of) sum += value;
  return sum;
}

// Adds what the taps of a window's row in a band contribute to the gradient of the sampling transform.
// `grads` holds the output gradient of each column.
template <int kBytes, class T>
void add_row(const SampleSlopes<accumulate_t<T>>& slopes, const SlabPixel<accumulate_t<T>>* grads,
             const Box& band, const ChannelSlab<T>& slab, accumulate_t<T> fill, Projective<double>& sum) {
  using Compute = accumulate_t<T>;
  using Pixel = PixelLanes<Compute, kBytes>;
  const auto* tap = slopes.taps();
  for (const auto& sample : slopes.samples()) {
    const auto grad = Pixel::read(grads[sample.column]);
    Pixel x = {}, y = {};
    for (; tap != slopes.taps() + sample.end; ++tap) {
      if (!band.has_row(tap->y)) continue;
      auto product = Pixel::read(slab.at(tap->x, tap->y));
      for (int v = 0; v < kSlabVectors; ++v) product.of[v] = grad.of[v] * (product.of[v] - fill);
      x.add(tap->along_x, product);
      y.add(tap->along_y, product);
    }
    SlabPixel<Compute> along_x, along_y;
    x.write(along_x);
    y.write(along_y);
    add_position_gradient<Compute>(sample.at, sum_of(along_x), sum_of(along_y), sum);
  }
}

template <class T>
void sum_all(const SampleWindowsBackwardMatricesParams& p) {
  using Compute = accumulate_t<T>;
  const auto images = sampled_images<Compute>(p);
  const int64_t slabs = (p.channels - 1) / kSlabChannels + 1;
  std::vector<Projective<double>> parts(p.instances * slabs);
  for_each_slab<T>(p, images,
                   [&](const SampledImage& image, const Box& band, int64_t index, int64_t first,
                       int64_t channels, ChannelSlab<T>& slab) {
                     const T* planes = static_cast<const T*>(p.input) + index * p.input_strides[0] +
                                       first * p.input_strides[1];
                     with_wide_instructions([&](auto bytes) {
                       slab.template read<bytes>(band, planes, p.input_strides + 1, channels);
                     });
                     SampleSlopes<Compute> slopes;
                     std::vector<SlabPixel<Compute>> grads(p.out_width);
                     for (const int64_t window : image.windows) {
                       const auto sampler = window_sampler<Compute>(p, window);
                       const T* grad = static_cast<const T*>(p.grad) + window * p.output_strides[0] +
                                       first * p.output_strides[1];
                       for (int64_t row = 0; row < p.out_height; ++row) {
                         slopes.find(sampler, p.sampling.interpolation, row, p.out_width);
                         with_wide_instructions([&](auto bytes) {
                           read_line<bytes>(grad + row * p.output_strides[2], p.output_strides + 1, channels,
                                            p.out_width, grads.data());
                           add_row<bytes>(slopes, grads.data(), band, slab, Compute(p.sampling.fill),
                                          parts[window * slabs + first / kSlabChannels]);
                         });
                       }
                     }
                   });
  for (int64_t n = 0; n < p.instances; ++n) {
    Projective<double> sum = {};
    for (int64_t slab = 0; slab < slabs; ++slab) sum = sum + parts[n * slabs + slab];
    store_matrix_gradient<Compute>(p, n, sum);
  }
}

}  // namespace

void sample_windows_backward_matrices_cpu(const SampleWindowsBackwardMatricesParams& p) {
  dispatch_floating(p.dtype, [&](auto type) { sum_all<decltype(type)>(p); });
}

}  // namespace pose2seg
