#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "core/affine_windows.h"
#include "cpu/row_taps.h"
#include "cpu/tasks.h"
#include "cpu/transpose.h"

namespace pose2seg {

// Reads windows of images whose planes are apart in memory, kLanes channels at a time. The pixels that a
// window samples are first copied so that these channels are adjacent: a tap is then one vector in place of a
// value that is gathered for every channel. Blocks of kLanes pixels are copied when they are first needed.
template <class T>
class WindowSlices {
  using Compute = accumulate_t<T>;

 public:
  // `input` has the strides of the input of `windows`.
  WindowSlices(const AffineWindows& windows, const void* input)
      : p_(windows), input_(static_cast<const T*>(input)), blocks_((p_.width - 1) / kLanes + 1) {}

  // Whether copies pay. They do for values of two bytes, which are then converted once and not for every tap,
  // and where the windows of an image overlap so much that they share what is copied.
  static bool pay(const AffineWindows& p) {
    const int64_t pixel_bytes = kLanes * sizeof(Compute);
    const bool fits = p.height <= kMostBytes / pixel_bytes / (p.width + kLanes);
    const bool is_shared = p.instances * p.out_height * p.out_width >= 2 * p.batch * p.height * p.width;
    return fits && (sizeof(T) == 2 || is_shared);
  }

  // They do not pay for a few channels, nor where the samples are so far apart that most of what is copied
  // lies between them.
  bool pay_for(const Task& task) const {
    if (task.channels < kLanes / 2 || !p_.has_image(p_.batch_index[task.map])) return false;
    const auto m = p_.to_input<Compute>(task.map);
    return std::fabs(m.a * m.e - m.b * m.d) < kMostPixels;
  }

  // Finds the taps of a row of a window and copies their pixels. The offsets are those of at().
  template <int kBytes>
  const RowTaps<Compute>& find(const Task& task, int64_t row) {
    select(task);
    taps_->find(to_input_, row);
    for (int64_t column = taps_->begin; column < taps_->end; column += kStep)
      copy_between<kBytes>(taps_->point(column), taps_->point(std::min(column + kStep, taps_->end) - 1));
    return *taps_;
  }

  // Returns the channels of a pixel.
  const Compute* at(int64_t offset) const { return pixels_ + offset; }

  // Returns the windows ordered by image, so that those of one image share what is copied.
  static std::vector<int64_t> order(const AffineWindows& p) {
    std::vector<int64_t> order(p.instances);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return p.batch_index[a] < p.batch_index[b]; });
    return order;
  }

 private:
  // The maximum size of a slice, most of which should stay in the L2 cache.
  static constexpr int64_t kMostBytes = int64_t(8) << 20;
  static constexpr int kMostPixels = 4;  // of the input for one of the output
  static constexpr int kStep = 4;        // columns whose pixels are copied together
  static constexpr int kAhead = 2;       // rows that are prefetched, since most windows are copied row by row

  void select(const Task& task) {
    if (window_ != task.map) to_input_ = p_.to_input<Compute>(window_ = task.map);
    const int64_t image = p_.batch_index[task.map];
    const T* planes = input_ + image * p_.input_strides[0] + task.channel * p_.input_strides[1];
    if (planes == planes_) return;
    planes_ = planes;
    channels_ = task.channels;
    const int64_t blocks = p_.height * blocks_;
    is_copied_.assign(blocks, false);
    if (storage_) return;
    const MapRows rows = {0, p_.height, p_.width, blocks_ * kLanes * kLanes, kLanes};
    taps_ = std::make_unique<RowTaps<Compute>>(rows, p_.out_width);
    size_t space = (blocks + 1) * sizeof(Compute[kLanes][kLanes]);
    storage_.reset(new char[space]);
    void* start = storage_.get();
    pixels_ = static_cast<Compute*>(std::align(kLanes * sizeof(Compute), 1, start, space));
  }

  // Copies the pixels of the taps of points between `a` and `b`.
  template <int kBytes>
  void copy_between(Vector2<Compute> a, Vector2<Compute> b) {
    const int64_t left = pixel(std::min(a.x, b.x), p_.width) / kLanes,
                  right = pixel(std::max(a.x, b.x) + 1, p_.width) / kLanes;
    const int64_t top = pixel(std::min(a.y, b.y), p_.height),
                  bottom = pixel(std::max(a.y, b.y) + 1, p_.height);
    for (int64_t y = top; y <= bottom; ++y)
      for (int64_t block = left; block <= right; ++block) {
        char& is_copied = is_copied_[y * blocks_ + block];
        if (is_copied) continue;
        copy<kBytes>(y, block * kLanes);
        is_copied = true;
      }
  }

  static int64_t pixel(Compute coordinate, int64_t side) {
    return int64_t(std::clamp(std::floor(coordinate), Compute(0), Compute(side - 1)));
  }

  template <int kBytes>
  void copy(int64_t y, int64_t x) {
    const SquareLayout layout = {p_.input_strides[1], p_.input_strides[3], channels_,
                                 std::min<int64_t>(kLanes, p_.width - x)};
    Lanes<Compute, kBytes> square[kLanes];
    const T* ahead =
        planes_ + std::min(y + kAhead, p_.height - 1) * p_.input_strides[2] + x * p_.input_strides[3];
    for (int64_t c = 0; c < channels_; ++c) __builtin_prefetch(ahead + c * p_.input_strides[1]);
    read_square(planes_ + y * p_.input_strides[2] + x * p_.input_strides[3], layout, square);
    std::memcpy(pixels_ + (y * blocks_ * kLanes + x) * kLanes, square, sizeof square);
  }

  const AffineWindows& p_;
  const T* input_;
  int64_t blocks_;  // of a row
  int64_t window_ = -1;
  Affine<Compute> to_input_ = {};  // of the window
  std::unique_ptr<RowTaps<Compute>> taps_;
  const T* planes_ = nullptr;
  int64_t channels_ = 0;
  std::vector<char> is_copied_;      // (height, blocks)
  std::unique_ptr<char[]> storage_;  // not cleared, so that memory is touched only where it is needed
  Compute* pixels_ = nullptr;        // (height, blocks, kLanes, kLanes), aligned
};

}  // namespace pose2seg
