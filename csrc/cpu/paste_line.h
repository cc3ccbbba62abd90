#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/paste.h"
#include "cpu/instruction_set.h"
#include "cpu/line_coordinate.h"

namespace pose2seg {

// Returns the floor of a value within the range of int32_t.
template <class T>
int32_t whole(T value) {
  const auto truncated = static_cast<int32_t>(value);
  return truncated - (T(truncated) > value);
}

// The pixels of a line, `stride` elements apart; indices beyond `last` refer to `last`.
struct Stepping {
  int32_t first, stride, last;

  int32_t operator[](int32_t i) const { return first + std::min(i * stride, last - first); }
};

// One coordinate in the RoI along a row or a column of the image, with the bits of RowInRoi::at.
template <class T>
struct LineInRoi {
  T step, start;          // along the line
  T step_across, across;  // to the line; 0 for a row, whose place is in `start`

  template <class Integer>
  T operator()(Integer t) const {
    return fused(step_across, across, fused(step, T(t), start));
  }

  double constant() const { return double(start) + double(step_across) * double(across); }
};

enum class Walk { kRows, kColumns };

// Pastes one instance along the rows or the columns of the image, with the same results as paste_pixel. Most
// stretches of pixels need no interpolation: if all taps near a stretch lie clearly on one side of the
// threshold, or give the lowest or highest opacity, so does every weighted mean of them. Cells are the
// squares between four taps, numbered row by row from (-1, -1), whose last tap is the first pixel of the RoI.
template <class T, class Pixel = bool>
class LinePaster {
  using Coordinate = accumulate_t<T>;

 public:
  LinePaster(const PasteParams& params, const PasteTarget& target, Walk walk) : params_(params), walk_(walk) {
    const Affine<double> matrix = image_to_roi<T>(target);
    footprint = paste_footprint(matrix, params.roi_height, params.roi_width, target.height, target.width);
    matrix_ = affine_cast<Coordinate>(matrix);
    if (footprint.empty()) return;
    const bool rows = walk == Walk::kRows;
    reach_x_ = reach(rows ? matrix.a : matrix.b);
    reach_y_ = reach(rows ? matrix.d : matrix.e);
    with_wide_instructions([&](auto) {
      pad_taps(static_cast<const T*>(target.roi));
      blocks_ = combine(classify_taps(), reach_x_ + 2, reach_y_ + 2);
    });
    blocks_.push_back(kUndecided);
  }

  // Returns the pixels of row or column `index` that the footprint covers. The footprint must intersect that
  // row or column.
  void paste(int64_t index, Pixel* pixels) const {
    const auto& m = matrix_;
    const auto i = Coordinate(index);
    with_wide_instructions([&](auto) {
      if (walk_ == Walk::kRows) {
        const RowInRoi row(m, i);
        paste_line({m.a, row.x, 0, 0}, {m.d, row.y, 0, 0}, footprint.left, footprint.right, pixels);
      } else {
        paste_line({m.b, m.c, m.a, i}, {m.e, m.f, m.d, i}, footprint.top, footprint.bottom, pixels);
      }
    });
  }

  Footprint footprint;

 private:
  using Coordinates = LineInRoi<Coordinate>;

  // The side of the threshold on which every bilinear mean in a cell or a block of cells lies.
  enum Side : uint8_t { kUndecided = 0, kBelow = 1, kAbove = 2 };

  static constexpr bool kIsMask = std::is_same_v<Pixel, bool>;
  static constexpr Pixel kHighest = std::numeric_limits<Pixel>::max();
  static constexpr double kExtreme = 0.4 / 255;  // as near to 0 or 1, an opacity is clearly 0 or 255
  static constexpr int32_t kStretch = 32;        // pixels
  static constexpr int32_t kTogether = 64;       // stretches whose blocks are looked up at once
  static constexpr int64_t kFarthest = 8;  // cells that a block spans beyond the first; more are rarely alike

  static int64_t reach(double step) {
    return static_cast<int64_t>(std::fmin(std::ceil(kStretch * std::fabs(step)), kFarthest));
  }

  int64_t columns() const { return params_.roi_width + 1; }             // of cells
  int64_t padded_columns() const { return columns() + kFarthest + 1; }  // of taps

  // Pads the RoI with the zeros that the taps of all blocks can reach.
  void pad_taps(const T* roi) {
    const int64_t width = params_.roi_width, height = params_.roi_height;
    taps_.assign(padded_columns() * (height + kFarthest + 2), Coordinate(0));
    for (int64_t y = 0; y < height; ++y)
      std::transform(roi + y * width, roi + (y + 1) * width, taps_.data() + (y + 1) * padded_columns() + 1,
                     [](T value) { return Coordinate(value); });
  }

  // Determines the side of every tap: a tap is on a side if no mean with other taps of that side can be
  // rounded across the threshold, or away from the lowest or highest opacity. NaN and infinities are on
  // neither side.
  std::vector<uint8_t> classify_taps() const {
    using Limits = std::numeric_limits<Coordinate>;
    constexpr size_t kLanes = 16;
    Coordinate lanes[kLanes] = {};
    for (size_t i = 0; i + kLanes <= taps_.size(); i += kLanes)
      for (size_t lane = 0; lane < kLanes; ++lane)
        lanes[lane] = std::max(lanes[lane], std::abs(taps_[i + lane]));
    Coordinate largest = *std::max_element(lanes, lanes + kLanes);
    for (size_t i = taps_.size() / kLanes * kLanes; i < taps_.size(); ++i)
      largest = std::max(largest, std::abs(taps_[i]));
    const double slack = 16 * double(Limits::epsilon()) * double(largest) + double(Limits::min());
    const auto high = Coordinate((kIsMask ? params_.threshold : 1 - kExtreme) + slack);
    const auto low = Coordinate((kIsMask ? params_.threshold : kExtreme) - slack);
    std::vector<uint8_t> sides(taps_.size());
    std::transform(taps_.begin(), taps_.end(), sides.begin(), [&](Coordinate tap) {
      return uint8_t(((tap < low) & (tap >= Limits::lowest())) * kBelow +
                     ((tap > high) & (tap <= Limits::max())) * kAbove);
    });
    return sides;
  }

  // For every cell, determines the side of all taps of the block of `across` x `down` taps that starts at its
  // first tap.
  std::vector<uint8_t> combine(const std::vector<uint8_t>& sides, int64_t across, int64_t down) const {
    std::vector<uint8_t> along(sides), all(columns() * (params_.roi_height + 1), kBelow | kAbove);
    for (int64_t dx = 1; dx < across; ++dx)
      intersect(along.data(), sides.data() + dx, static_cast<int64_t>(sides.size()) - dx);
    for (int64_t y = 0; y <= params_.roi_height; ++y)
      for (int64_t dy = 0; dy < down; ++dy)
        intersect(all.data() + y * columns(), along.data() + (y + dy) * padded_columns(), columns());
    return all;
  }

  static void intersect(uint8_t* __restrict__ sides, const uint8_t* __restrict__ others, int64_t count) {
    for (int64_t i = 0; i < count; ++i) sides[i] &= others[i];
  }

  // For each stretch, between two of `ends`, finds the first cell of the block that contains all of its
  // cells, or the undecided cell after the last if they are farther apart. The loop is simple enough to be
  // vectorised.
  void find_blocks(Coordinates x, Coordinates y, Stepping ends, int32_t stretches,
                   int32_t* __restrict blocks) const {
    const auto reach_x = int32_t(reach_x_), reach_y = int32_t(reach_y_);
    const auto columns = int32_t(this->columns()), undecided = int32_t(blocks_.size() - 1);
    for (int32_t i = 0; i < stretches; ++i) {
      const int32_t x1 = whole(x(ends[i])), x2 = whole(x(ends[i + 1]));
      const int32_t y1 = whole(y(ends[i])), y2 = whole(y(ends[i + 1]));
      const int32_t left = std::min(x1, x2), right = std::max(x1, x2);
      const int32_t top = std::min(y1, y2), bottom = std::max(y1, y2);
      const bool within = (right - left <= reach_x) & (bottom - top <= reach_y);
      const int32_t block = (top + 1) * columns + left + 1;
      blocks[i] = within ? block : undecided;
    }
  }

  void paste_line(const Coordinates& x, const Coordinates& y, int64_t begin, int64_t end,
                  Pixel* pixels) const {
    int64_t first = begin, last = end;
    narrow(x, Coordinate(-1), Coordinate(params_.roi_width), first, last);
    narrow(y, Coordinate(-1), Coordinate(params_.roi_height), first, last);
    last = std::max(first, last);
    std::fill(pixels, pixels + (first - begin), Pixel(0));
    std::fill(pixels + (last - begin), pixels + (end - begin), Pixel(0));
    for (; first < last; first += kTogether * kStretch)
      paste_stretches(x, y, int32_t(first), int32_t(std::min<int64_t>(last, first + kTogether * kStretch)),
                      pixels + (first - begin));
  }

  void paste_stretches(const Coordinates& x, const Coordinates& y, int32_t first, int32_t last,
                       Pixel* pixels) const {
    int32_t blocks[kTogether];
    const int32_t stretches = (last - first - 1) / kStretch + 1;
    find_blocks(x, y, {first, kStretch, last - 1}, stretches, blocks);
    for (int32_t i = 0; i < stretches; ++i) {
      const int32_t begin = first + i * kStretch, count = std::min(kStretch, last - begin);
      Pixel* stretch = pixels + i * kStretch;
      const uint8_t side = blocks_[blocks[i]];
      if (side == kUndecided)
        paste_pixels(x, y, begin, count, stretch);
      else if (count == kStretch)  // of a length that the compiler knows: one store
        std::fill_n(stretch, kStretch, side == kAbove ? kHighest : Pixel(0));
      else
        std::fill_n(stretch, count, side == kAbove ? kHighest : Pixel(0));
    }
  }

  // Interpolates up to kStretch pixels: computes all of them in a loop that is simple enough to be
  // vectorised, and then stores those that exist.
  void paste_pixels(const Coordinates& x, const Coordinates& y, int32_t first, int32_t count,
                    Pixel* pixels) const {
    const Stepping at{first, 1, first + count - 1};
    const Coordinate* taps = taps_.data();
    const auto stride = static_cast<int32_t>(padded_columns());
    const auto threshold = Coordinate(params_.threshold);
    Pixel pasted[kStretch];
    for (int32_t i = 0; i < kStretch; ++i) {
      const Coordinate px = x(at[i]), py = y(at[i]);
      const int32_t column = whole(px), row = whole(py);
      const int32_t upper = (row + 1) * stride + column + 1, lower = upper + stride;
      const Coordinate values[] = {taps[upper], taps[upper + 1], taps[lower], taps[lower + 1]};
      const Coordinate value = fused_interpolate(px - Coordinate(column), py - Coordinate(row), values);
      pasted[i] = to_pixel<Pixel>(value, threshold);
    }
    std::copy_n(pasted, count, pixels);
  }

  const PasteParams& params_;
  Walk walk_;
  Affine<Coordinate> matrix_;
  int64_t reach_x_ = 0, reach_y_ = 0;
  std::vector<Coordinate> taps_;
  std::vector<uint8_t> blocks_;
};

}  // namespace pose2seg
