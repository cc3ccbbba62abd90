#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/affine.h"
#include "core/bilinear.h"
#include "core/index_width.h"
#include "cpu/line_coordinate.h"

namespace pose2seg {

// Rows [top, bottom) of a map; all other rows are ignored. T must represent the bounds exactly unless they
// are those of the map itself.
struct MapRows {
  int64_t top, bottom, width;
  int64_t row_stride, column_stride;  // in elements

  // The offset from the pixel (0, top).
  int64_t offset(int64_t x, int64_t y) const { return (y - top) * row_stride + x * column_stride; }
};

// The positions at which a row of output pixels samples a map. The pixels of a row that have a tap are
// consecutive, and so are those among them that have all four. The taps of the latter are computed in
// advance, vectorised.
template <class T>
class RowTaps {
 public:
  RowTaps(const MapRows& map, int64_t columns) : map_(map), columns_(columns) {
    clear();
    const int64_t last = map.offset(map.width - 1, map.bottom - 1);
    vectors_ = sides_fit_int32({map.width, map.bottom, columns, last});
    if (!vectors_) return;
    offset.resize(columns);
    right.resize(columns);
    lower.resize(columns);
  }

  // `to_map` maps output pixels to map coordinates. If it is not finite, nothing is sampled.
  void find(const Affine<T>& to_map, int64_t row) {
    begin = 0;
    end = is_finite(to_map) ? columns_ : 0;
    x_ = {to_map.a, to_map.b * T(row), to_map.c};
    y_ = {to_map.d, to_map.e * T(row), to_map.f};
    narrow(x_, T(-1), T(map_.width), begin, end);
    const T room = T(map_.top) * 2 * std::numeric_limits<T>::epsilon();
    narrow(y_, T(map_.top) - 1 - room, T(map_.bottom), begin, end);
    inner_begin = begin;
    inner_end = vectors_ ? end : begin;
    narrow(x_, T(0), T(map_.width - 1), inner_begin, inner_end);
    narrow(y_, T(map_.top), T(map_.bottom - 1), inner_begin, inner_end);
    find_inner();
  }

  // Sets the row to one that samples nothing.
  void clear() { begin = end = inner_begin = inner_end = 0; }

  // The point that the pixel in a column samples.
  Vector2<T> point(int64_t column) const { return {x_(column), y_(column)}; }

  BilinearTaps<T> taps(int64_t column) const {
    auto taps = bilinear_taps(x_(column), y_(column), map_.bottom, map_.width);
    taps.has_upper = taps.has_upper && taps.y >= map_.top;
    taps.has_lower = taps.has_lower && taps.y + 1 >= map_.top;
    return taps;
  }

  // Calls visit(offset, weight) for each tap of the pixel in a column.
  template <class Visit>
  void visit(int64_t column, const Visit& visit) const {
    if (column < begin || column >= end) return;
    if (column < inner_begin || column >= inner_end) {
      taps(column).visit([&](int64_t x, int64_t y, T weight) { visit(map_.offset(x, y), weight); });
      return;
    }
    const auto weights = bilinear_weights(right[column], lower[column]);
    const int64_t upper = offset[column], lower_row = upper + map_.row_stride;
    visit(upper, weights.of[kUpperLeft]);
    visit(upper + map_.column_stride, weights.of[kUpperRight]);
    visit(lower_row, weights.of[kLowerLeft]);
    visit(lower_row + map_.column_stride, weights.of[kLowerRight]);
  }

  const MapRows& map() const { return map_; }

  int64_t begin, end;              // columns with any tap; possibly one more in large maps
  int64_t inner_begin, inner_end;  // columns with all four taps; the arrays below belong to these
  std::vector<int32_t> offset;     // of the upper left tap
  std::vector<T> right, lower;     // weights of the right column and of the lower row

 private:
  void find_inner() {
    const auto top = int32_t(map_.top);
    const auto row_stride = int32_t(map_.row_stride), column_stride = int32_t(map_.column_stride);
    int32_t* __restrict offsets = offset.data();
    T* __restrict rights = right.data(), * __restrict lowers = lower.data();
    const auto to_x = x_, to_y = y_;  // which the stores below cannot change
    const auto begin = int32_t(inner_begin), end = int32_t(inner_end);
    for (int32_t i = begin; i < end; ++i) {
      const T x = to_x(i), y = to_y(i);
      const auto column = int32_t(x), row = int32_t(y);
      offsets[i] = (row - top) * row_stride + column * column_stride;
      rights[i] = x - T(column);
      lowers[i] = y - T(row);
    }
  }

  MapRows map_;
  int64_t columns_;
  bool vectors_;
  LineCoordinate<T> x_ = {}, y_ = {};
};

}  // namespace pose2seg
