#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

#include "core/dtype.h"
#include "cpu/pixel_taps.h"
#include "cpu/transpose.h"

namespace pose2seg {

// The channels of a slab, whose values at a pixel are a few vectors.
constexpr int kSlabVectors = 4, kSlabChannels = kSlabVectors * kLanes;

// A slab of more pixels would fill the memory: with float, this one has 64 MB.
constexpr int64_t kMostSlabPixels = int64_t(1) << 18;

// The channels of a pixel. The compiler does not align a vector whose type depends on a template.
template <class Compute>
struct alignas(sizeof(Lanes<Compute>)) SlabPixel {
  Lanes<Compute> of[kSlabVectors];
};

// Reads the vector of channels of each column; what is absent becomes 0. Unlike read_square(), it is also
// fast if the channels are adjacent.
template <class T>
void read_pixels(const T* from, const SquareLayout& layout, Lanes<accumulate_t<T>> (&square)[kLanes]) {
  if (layout.to_plane != 1 || layout.channels < kLanes) return read_square(from, layout, square);
  for (int64_t x = 0; x < layout.columns; ++x) {
    accumulate_t<T> values[kLanes];
    for (int c = 0; c < kLanes; ++c) values[c] = accumulate_t<T>(from[x * layout.to_column + c]);
    std::memcpy(&square[x], values, sizeof values);
  }
}

// Does the opposite.
template <class T>
void write_pixels(Lanes<accumulate_t<T>> (&square)[kLanes], const SquareLayout& layout, T* to) {
  if (layout.to_plane != 1 || layout.channels < kLanes) return write_square(square, layout, to);
  for (int64_t x = 0; x < layout.columns; ++x)
    for (int c = 0; c < kLanes; ++c) to[x * layout.to_column + c] = T(square[x][c]);
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

  // Copies a box from up to kSlabChannels channels of an image; `strides` are those of C, H, W. Further
  // channels become 0.
  void read(const Box& box, const T* image, const int64_t* strides, int64_t channels) {
    select(box);
    for_each_square(image, strides, channels,
                    [&](const T* from, const SquareLayout& layout, Pixel* to, int v) {
                      Lanes<Compute> square[kLanes];
                      read_pixels(from, layout, square);
                      for (int64_t x = 0; x < layout.columns; ++x) to[x].of[v] = square[x];
                    });
  }

  // Copies the box to the image.
  void write(T* image, const int64_t* strides, int64_t channels) const {
    for_each_square(image, strides, channels,
                    [&](T* to, const SquareLayout& layout, const Pixel* from, int v) {
                      Lanes<Compute> square[kLanes] = {};
                      for (int64_t x = 0; x < layout.columns; ++x) square[x] = from[x].of[v];
                      write_pixels(square, layout, to);
                    });
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

  template <class Element, class Visit>
  void for_each_square(Element* image, const int64_t* strides, int64_t channels, const Visit& visit) const {
    for (int64_t y = box_.top; y < box_.bottom; ++y)
      for (int64_t x = box_.left; x < box_.right; x += kLanes)
        for (int v = 0; v < kSlabVectors; ++v) {
          const int64_t first = v * kLanes;
          const SquareLayout layout = {strides[0], strides[2],
                                       std::clamp<int64_t>(channels - first, 0, kLanes),
                                       std::min<int64_t>(kLanes, box_.right - x)};
          Pixel* pixels = pixels_ + (y - box_.top) * box_.width() + x - box_.left;
          visit(image + first * strides[0] + y * strides[1] + x * strides[2], layout, pixels, v);
        }
  }

  Box box_;
  size_t room_ = 0;
  std::unique_ptr<char[]> storage_;
  Pixel* pixels_ = nullptr;
};

}  // namespace pose2seg
