#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "core/dtype.h"
#include "cpu/lanes.h"
#include "cpu/pixel_taps.h"
#include "cpu/transpose.h"

namespace pose2seg {

// The channels of a slab, which are a few vectors.
constexpr int kSlabVectors = 4, kSlabChannels = kSlabVectors * kLanes;

// A slab of more pixels would fill the memory: with float, this one has 64 MB.
constexpr int64_t kMostSlabPixels = int64_t(1) << 18;

// The channels of a pixel.
template <class Compute>
struct alignas(64) SlabPixel {
  Compute of[kSlabChannels];
};

// The same in vectors of registers.
template <class Compute, int kBytes>
struct PixelLanes {
  Lanes<Compute, kBytes> of[kSlabVectors];

  static PixelLanes read(const SlabPixel<Compute>& pixel) {
    PixelLanes lanes;
    for (int v = 0; v < kSlabVectors; ++v) lanes.of[v] = Lanes<Compute, kBytes>::read(pixel.of + v * kLanes);
    return lanes;
  }

  void write(SlabPixel<Compute>& pixel) const {
    for (int v = 0; v < kSlabVectors; ++v) of[v].write(pixel.of + v * kLanes);
  }

  void add(Compute weight, const PixelLanes& pixel) {
    for (int v = 0; v < kSlabVectors; ++v) of[v] += weight * pixel.of[v];
  }
};

// Reads up to kSlabChannels channels of consecutive pixels of an image; `strides` are those of C, H, W.
// Further channels become 0.
template <int kBytes, class T>
void read_line(const T* from, const int64_t* strides, int64_t channels, int64_t pixels,
               SlabPixel<accumulate_t<T>>* to) {
  if (strides[0] == 1) {
    for (int64_t i = 0; i < pixels; ++i) {
      for (int64_t c = 0; c < channels; ++c) to[i].of[c] = accumulate_t<T>(from[i * strides[2] + c]);
      std::fill(to[i].of + channels, to[i].of + kSlabChannels, accumulate_t<T>(0));
    }
    return;
  }
  for (int first = 0; first < kSlabChannels; first += kLanes)
    for (int64_t begin = 0; begin < pixels; begin += kLanes) {
      const SquareLayout layout = {strides[0], strides[2], std::clamp<int64_t>(channels - first, 0, kLanes),
                                   std::min<int64_t>(kLanes, pixels - begin)};
      Lanes<accumulate_t<T>, kBytes> square[kLanes];
      read_square(from + first * strides[0] + begin * strides[2], layout, square);
      for (int64_t x = 0; x < layout.columns; ++x) square[x].write(to[begin + x].of + first);
    }
}

// Does the opposite.
template <int kBytes, class T>
void write_line(const SlabPixel<accumulate_t<T>>* from, const int64_t* strides, int64_t channels,
                int64_t pixels, T* to) {
  using Vector = Lanes<accumulate_t<T>, kBytes>;
  if (strides[0] == 1) {
    for (int64_t i = 0; i < pixels; ++i)
      for (int64_t c = 0; c < channels; ++c) to[i * strides[2] + c] = T(from[i].of[c]);
    return;
  }
  // A few planes at a time. With all planes of a few pixels, every store would be to another page.
  for (int64_t first = 0; first < channels; first += kLanes)
    for (int64_t begin = 0; begin < pixels; begin += kLanes) {
      const SquareLayout layout = {strides[0], strides[2], std::min<int64_t>(kLanes, channels - first),
                                   std::min<int64_t>(kLanes, pixels - begin)};
      Vector square[kLanes] = {};
      for (int64_t x = 0; x < layout.columns; ++x) square[x] = Vector::read(from[begin + x].of + first);
      write_square(square, layout, to + first * strides[0] + begin * strides[2]);
    }
}

// The values of some channels in a box of an image, with the channels adjacent in memory and converted to the
// type of sums. `T` is the type of the image.
template <class T>
class ChannelSlab {
 public:
  using Compute = accumulate_t<T>;
  using Pixel = SlabPixel<Compute>;

  // Sets all values of a box to 0.
  void clear(const Box& box) {
    select(box);
    std::memset(static_cast<void*>(pixels_), 0, size_t(box.width() * box.height()) * sizeof(Pixel));
  }

  Pixel& at(int64_t x, int64_t y) { return pixels_[(y - box_.top) * box_.width() + x - box_.left]; }
  const Pixel& at(int64_t x, int64_t y) const {
    return pixels_[(y - box_.top) * box_.width() + x - box_.left];
  }

  // Copies a box from up to kSlabChannels channels of an image, as read_line().
  template <int kBytes>
  void read(const Box& box, const T* image, const int64_t* strides, int64_t channels) {
    select(box);
    for (int64_t y = box.top; y < box.bottom; ++y)
      read_line<kBytes>(image + y * strides[1] + box.left * strides[2], strides, channels, box.width(),
                        &at(box.left, y));
  }

  // Copies the box to the image.
  template <int kBytes>
  void write(T* image, const int64_t* strides, int64_t channels) const {
    for (int64_t y = box_.top; y < box_.bottom; ++y)
      write_line<kBytes>(&at(box_.left, y), strides, channels, box_.width(),
                         image + y * strides[1] + box_.left * strides[2]);
  }

 private:
  // Makes room for a box. What it holds is undefined.
  void select(const Box& box) {
    box_ = box;
    const size_t pixels = size_t(box.width() * box.height());
    if (pixels <= room_) return;
    room_ = pixels;
    size_t space = (pixels + 1) * sizeof(Pixel);
    storage_.reset(new char[space]);
    void* start = storage_.get();
    pixels_ = static_cast<Pixel*>(std::align(alignof(Pixel), pixels * sizeof(Pixel), start, space));
  }

  Box box_;
  size_t room_ = 0;
  std::unique_ptr<char[]> storage_;
  Pixel* pixels_ = nullptr;
};

}  // namespace pose2seg
