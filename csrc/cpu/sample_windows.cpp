#include "core/sample_windows.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/channel_slab.h"
#include "cpu/dispatch.h"
#include "cpu/instruction_set.h"
#include "cpu/parallel.h"
#include "cpu/pixel_taps.h"
#include "cpu/sampled_images.h"
#include "cpu/tasks.h"

// An output pixel is a weighted sum of input pixels, which are found once for many channels. If the channels
// are adjacent in memory they are read in place. Otherwise the part of an image that its windows read is
// copied first, a slab of channels at a time, unless the windows read little of it.

namespace pose2seg {
namespace {

constexpr int kTapsTogether = 4;

template <class T>
class WindowReader {
  using Compute = accumulate_t<T>;

 public:
  explicit WindowReader(const SampleWindowsParams& params) : p_(params), sums_(params.channels) {}

  void select(int64_t window) {
    window_ = window;
    sampler_ = window_sampler<Compute>(p_, window);
  }

  // Finds the taps of some rows and calls write(*this, register bytes) for them, until all of `rows` are
  // written.
  template <class Write>
  void for_each_rows(Rows rows, const Write& write) {
    pose2seg::for_each_rows(p_, sampler_, rows, [&](Rows part) {
      first_row_ = part.first;
      taps_.find(sampler_, p_.sampling.interpolation, part, p_.out_width);
      with_wide_instructions([&](auto bytes) { write(*this, bytes); });
    });
  }

  // Writes all channels of the rows from an image whose channels are adjacent.
  void write_from_pixels() {
    for (int64_t pixel = 0; pixel < taps_.pixels(); ++pixel) {
      std::fill(sums_.begin(), sums_.end(), background(pixel));
      const auto* tap = taps_.begin(pixel);
      for (; taps_.end(pixel) - tap >= kTapsTogether; tap += kTapsTogether) add_pixels<kTapsTogether>(tap);
      for (; tap != taps_.end(pixel); ++tap) add_pixels<1>(tap);
      T* to = output(0, pixel);
      for (int64_t c = 0; c < p_.channels; ++c) to[c] = T(sums_[c]);
    }
  }

  // Does the same from any image, one channel at a time.
  void write_each_channel() const {
    for (int64_t pixel = 0; pixel < taps_.pixels(); ++pixel)
      for (int64_t c = 0; c < p_.channels; ++c) {
        Compute sum = background(pixel);
        for (const auto* tap = taps_.begin(pixel); tap != taps_.end(pixel); ++tap)
          sum += tap->weight * Compute(input(*tap)[c * p_.input_strides[1]]);
        *output(c, pixel) = T(sum);
      }
  }

  // Writes `channels` channels of the rows, starting at channel `first`, from the slab that holds them.
  template <int kBytes>
  void write_from_slab(const ChannelSlab<T>& slab, int64_t first, int64_t channels) {
    line_.resize(taps_.pixels());
    for (int64_t pixel = 0; pixel < taps_.pixels(); ++pixel) {
      PixelLanes<Compute, kBytes> sum;
      for (auto& vector : sum.of) vector = Lanes<Compute, kBytes>::all(background(pixel));
      for (const auto* tap = taps_.begin(pixel); tap != taps_.end(pixel); ++tap)
        sum.add(tap->weight, PixelLanes<Compute, kBytes>::read(slab.at(tap->x, tap->y)));
      sum.write(line_[pixel]);
    }
    write_line<kBytes>(line_.data(), p_.output_strides + 1, channels, taps_.pixels(), output(first, 0));
  }

 private:
  // Returns what the absent taps contribute to the sum: the fill times their weights.
  Compute background(int64_t pixel) const {
    if (p_.sampling.fill == 0 || sampler_.samples_nothing) return 0;
    Compute absent = 1;
    for (const auto* tap = taps_.begin(pixel); tap != taps_.end(pixel); ++tap) absent -= tap->weight;
    return absent * Compute(p_.sampling.fill);
  }

  // Adds `kCount` pixels to the sums. Each is read from its first channel to its last, which caches favour.
  template <int kCount>
  void add_pixels(const PixelTap<Compute>* taps) {
    const T* from[kCount];
    Compute weight[kCount];
    for (int k = 0; k < kCount; ++k) {
      from[k] = input(taps[k]);
      weight[k] = taps[k].weight;
    }
    Compute* __restrict sums = sums_.data();
    for (int64_t c = 0; c < p_.channels; ++c) {
      Compute sum = sums[c];
      for (int k = 0; k < kCount; ++k) sum += weight[k] * Compute(from[k][c]);
      sums[c] = sum;
    }
  }

  const T* input(const PixelTap<Compute>& tap) const {
    return static_cast<const T*>(p_.input) + p_.batch_index[window_] * p_.input_strides[0] +
           tap.y * p_.input_strides[2] + tap.x * p_.input_strides[3];
  }

  T* output(int64_t channel, int64_t pixel) const {
    return static_cast<T*>(p_.output) + window_ * p_.output_strides[0] + channel * p_.output_strides[1] +
           first_row_ * p_.output_strides[2] + pixel * p_.output_strides[3];
  }

  const SampleWindowsParams& p_;
  int64_t window_ = 0, first_row_ = 0;
  WindowSampler<Compute> sampler_ = {};
  PixelTaps<Compute> taps_;
  std::vector<Compute> sums_;  // of all channels of a pixel
  std::vector<SlabPixel<Compute>> line_;
};

// Calls write(reader) for the rows of the windows whose image index `belongs` selects.
template <class T, class Belongs, class Write>
void write_in_place(const SampleWindowsParams& p, const Belongs& belongs, const Write& write) {
  const Tasks tasks = window_tasks(p.instances, p.out_height, p.out_width, p.channels, true);
  parallel_for(0, tasks.count(), 1, [&](int64_t begin, int64_t end) {
    WindowReader<T> reader(p);
    for (int64_t i = begin; i < end; ++i) {
      const Task task = tasks[i];
      if (!belongs(p.batch_index[task.map])) continue;
      reader.select(task.map);
      reader.for_each_rows({task.first, task.last}, write);
    }
  });
}

template <class T>
void sample_all(const SampleWindowsParams& p) {
  if (p.input_strides[1] == 1 && p.output_strides[1] == 1)
    return write_in_place<T>(
        p, [](int64_t) { return true; }, [](auto& reader, auto) { reader.write_from_pixels(); });
  const auto images = sampled_images<accumulate_t<T>>(p);
  const auto copy_pays = [&](const SampledImage& image) {
    const Box& box = image.box;
    return !box.is_empty() && box.width() <= kMostSlabPixels / box.height() &&  // it is a single band
           int64_t(4 * image.taps) > box.width() * box.height();
  };
  for_each_slab<T>(p, images,
                   [&](const SampledImage& image, const Box& band, int64_t index, int64_t first,
                       int64_t channels, ChannelSlab<T>& slab) {
                     if (!copy_pays(image)) return;
                     const T* planes = static_cast<const T*>(p.input) + index * p.input_strides[0] +
                                       first * p.input_strides[1];
                     with_wide_instructions([&](auto bytes) {
                       slab.template read<bytes>(band, planes, p.input_strides + 1, channels);
                     });
                     WindowReader<T> reader(p);
                     for (const int64_t window : image.windows) {
                       reader.select(window);
                       reader.for_each_rows({0, p.out_height}, [&](auto& rows, auto bytes) {
                         rows.template write_from_slab<bytes>(slab, first, channels);
                       });
                     }
                   });
  write_in_place<T>(
      p, [&](int64_t index) { return !p.has_image(index) || !copy_pays(images[index]); },
      [](auto& reader, auto) { reader.write_each_channel(); });
}

}  // namespace

void sample_windows_cpu(const SampleWindowsParams& p) {
  dispatch_floating(p.dtype, [&](auto type) { sample_all<decltype(type)>(p); });
}

}  // namespace pose2seg
