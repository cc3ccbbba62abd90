#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/paste.h"
#include "cpu/line_coordinate.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define POSE2SEG_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define POSE2SEG_VECTOR_CLONES
#endif

namespace pose2seg {

// The largest integer that is not above a value within the range of int32_t.
template <class T>
int32_t whole(T value) {
  const auto truncated = static_cast<int32_t>(value);
  return truncated - (T(truncated) > value);
}

// Cells are the squares between four taps, numbered row by row from (-1, -1), of which the RoI's first pixel
// is the last tap. Stores the cell of each of `count` pixels; plain enough for vector instructions.
template <class T>
POSE2SEG_VECTOR_CLONES inline void number_cells(LineCoordinate<T> x, LineCoordinate<T> y, int32_t first,
                                                int32_t count, int32_t columns, int32_t* cells) {
  for (int32_t i = 0; i < count; ++i)
    cells[i] = (whole(y(first + i)) + 1) * columns + whole(x(first + i)) + 1;
}

enum class Walk { kRows, kColumns };

// Pastes one person along the rows or the columns of the image, with the results of paste_pixel. Most pixels
// need no interpolation: where the four taps lie clearly on one side of the threshold, so does every mean of
// them, and where all cells near a stretch of pixels do, the stretch is done at once.
template <class T>
class LinePaster {
  using Coordinate = accumulate_t<T>;

 public:
  LinePaster(const PasteParams& params, const PasteTarget& target, Walk walk) : params_(params), walk_(walk) {
    const Affine<double> matrix = image_to_roi<T>(params, target.instance);
    footprint = paste_footprint(matrix, params.roi_height, params.roi_width, target.height, target.width);
    matrix_ = affine_cast<Coordinate>(matrix);
    if (footprint.empty()) return;
    const bool rows = walk == Walk::kRows;
    reach_x_ = reach(rows ? matrix.a : matrix.b);
    reach_y_ = reach(rows ? matrix.d : matrix.e);
    pad_taps(roi_pixels<T>(params, target.instance));
    const std::vector<uint8_t> sides = classify_taps();
    cells_ = combine(sides, 2, 2);
    blocks_ = combine(sides, reach_x_ + 2, reach_y_ + 2);
  }

  // The pixels of row or column `index` that the footprint covers, which holds that row or column.
  void paste(int64_t index, bool* pixels) const {
    const auto& m = matrix_;
    const auto i = Coordinate(index);
    if (walk_ == Walk::kRows)
      paste_line({m.a, m.b * i, m.c}, {m.d, m.e * i, m.f}, footprint.left, footprint.right, pixels);
    else
      paste_line({m.b, m.a * i, m.c}, {m.e, m.d * i, m.f}, footprint.top, footprint.bottom, pixels);
  }

  Footprint footprint;

 private:
  using Coordinates = LineCoordinate<Coordinate>;

  // Of a cell or a block of cells: what every bilinear mean in it gives.
  enum Side : uint8_t { kUndecided = 0, kBelow = 1, kAbove = 2 };

  static constexpr int64_t kStretch = 16;  // pixels
  static constexpr int64_t kFarthest = 8;  // cells that a block spans beyond the first; more are rarely alike

  static int64_t reach(double step) {
    return static_cast<int64_t>(std::fmin(std::ceil((kStretch - 1) * std::fabs(step)), kFarthest));
  }

  int64_t columns() const { return params_.roi_width + 1; }             // of cells
  int64_t padded_columns() const { return columns() + kFarthest + 1; }  // of taps

  // The RoI with the zeros around it that the taps of all blocks can be.
  void pad_taps(const T* roi) {
    const int64_t width = params_.roi_width, height = params_.roi_height;
    taps_.assign(padded_columns() * (height + kFarthest + 2), Coordinate(0));
    for (int64_t y = 0; y < height; ++y)
      std::transform(roi + y * width, roi + (y + 1) * width, taps_.data() + (y + 1) * padded_columns() + 1,
                     [](T value) { return Coordinate(value); });
  }

  // Of every tap: it is on a side when no mean with others on that side can be rounded across the threshold.
  // NaN and infinities are on neither.
  std::vector<uint8_t> classify_taps() const {
    using Limits = std::numeric_limits<Coordinate>;
    Coordinate largest = 0;
    for (const Coordinate tap : taps_) largest = std::max(largest, std::abs(tap));
    const double slack = 16 * double(Limits::epsilon()) * double(largest) + double(Limits::min());
    const auto high = Coordinate(params_.threshold + slack), low = Coordinate(params_.threshold - slack);
    std::vector<uint8_t> sides(taps_.size());
    std::transform(taps_.begin(), taps_.end(), sides.begin(), [&](Coordinate tap) {
      return uint8_t((tap < low && tap >= Limits::lowest()) * kBelow +
                     (tap > high && tap <= Limits::max()) * kAbove);
    });
    return sides;
  }

  // For every cell: the side that all taps of the block of `across` x `down` taps from its first one are on.
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

  void paste_line(const Coordinates& x, const Coordinates& y, int64_t begin, int64_t end,
                  bool* pixels) const {
    int64_t first = begin, last = end;
    x.narrow(-1, Coordinate(params_.roi_width), first, last);
    y.narrow(-1, Coordinate(params_.roi_height), first, last);
    last = std::max(first, last);
    std::fill(pixels, pixels + (first - begin), false);
    std::fill(pixels + (last - begin), pixels + (end - begin), false);
    for (; first < last; first += kStretch) {
      const int64_t count = std::min(kStretch, last - first);
      bool* stretch = pixels + (first - begin);
      if (const uint8_t side = side_of_stretch(x, y, first, first + count - 1)) {
        std::fill(stretch, stretch + count, side == kAbove);
        continue;
      }
      int32_t cells[kStretch];
      number_cells(x, y, int32_t(first), int32_t(count), int32_t(columns()), cells);
      for (int64_t i = 0; i < count; ++i) {
        const uint8_t side = cells_[cells[i]];
        stretch[i] = side == kUndecided ? interpolate(x(first + i), y(first + i)) : side == kAbove;
      }
    }
  }

  bool interpolate(Coordinate x, Coordinate y) const {
    const int32_t column = whole(x), row = whole(y);
    const Coordinate* upper = taps_.data() + (row + 1) * padded_columns() + column + 1;
    const Coordinate* lower = upper + padded_columns();
    const Coordinate mean =
        mean_of_taps(x - Coordinate(column), y - Coordinate(row), upper[0], upper[1], lower[0], lower[1]);
    return mean > Coordinate(params_.threshold);
  }

  uint8_t side_of_stretch(const Coordinates& x, const Coordinates& y, int64_t first, int64_t last) const {
    const int64_t x1 = whole(x(first)), x2 = whole(x(last)), y1 = whole(y(first)), y2 = whole(y(last));
    if (std::abs(x2 - x1) > reach_x_ || std::abs(y2 - y1) > reach_y_) return kUndecided;
    return blocks_[(std::min(y1, y2) + 1) * columns() + std::min(x1, x2) + 1];
  }

  const PasteParams& params_;
  Walk walk_;
  Affine<Coordinate> matrix_;
  int64_t reach_x_ = 0, reach_y_ = 0;
  std::vector<Coordinate> taps_;
  std::vector<uint8_t> cells_, blocks_;
};

}  // namespace pose2seg
