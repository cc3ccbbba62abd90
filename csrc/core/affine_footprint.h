#pragma once

#include <cmath>
#include <cstdint>

#include "core/affine.h"

namespace pose2seg {

// Finds the integers [first, last] that lie between two bounds and in [0, extent); a NaN is no bound. The
// value is clamped before the conversion, since a bound may exceed every integer, and after it, since T may
// not represent the extent exactly.
template <class T, class Index>
HOST_DEVICE void integers_between(T low, T high, Index extent, Index& first, Index& last) {
  first = Index(std::fmin(std::fmax(std::ceil(low), T(0)), T(extent)));
  last = Index(std::fmax(std::fmin(std::floor(high), T(extent)), T(-1)));
  if (last >= extent) last = extent - 1;
}

// Inverts an affine sampling: finds which output pixels have a tap on a pixel (u, v) of the input, and with
// which weight. These output pixels sample within the square of side 2 around (u, v) and
// therefore lie in a small parallelogram of the output. The bounds of its rows, and of its columns in each
// row, are conservative to allow for rounding; weight() decides which of the pixels within the bounds
// have the tap. Index is the type in which pixels are counted: int32_t if the sides are small enough.
template <class T>
struct AffineFootprint {
  Affine<T> to_map;
  int64_t out_height, out_width;
  T left, right, top, bottom;  // exclusive bounds of the input pixels that have any tap
  T reach_x, reach_y;          // greatest distances from (u, v) at which a pixel with a tap on it samples
  T column_per_x, column_per_y;
  T row_per_x, row_per_y, row_at_origin, row_reach;

  template <class Index>
  HOST_DEVICE bool overlaps(Index u0, Index u1, Index v0, Index v1) const {
    return T(u1) > left && T(u0) < right && T(v1) > top && T(v0) < bottom;
  }

  template <class Index>
  HOST_DEVICE void rows(Index u, Index v, Index& first, Index& last) const {
    const T centre = row_per_x * T(u) + row_per_y * T(v) + row_at_origin;
    integers_between(centre - row_reach, centre + row_reach, Index(out_height), first, last);
  }

  template <class Index>
  HOST_DEVICE void columns(Index u, Index v, Index row, Index& first, Index& last) const {
    const T x = T(u) - (to_map.b * T(row) + to_map.c), y = T(v) - (to_map.e * T(row) + to_map.f);
    const T x0 = (x - reach_x) * column_per_x, x1 = (x + reach_x) * column_per_x;
    const T y0 = (y - reach_y) * column_per_y, y1 = (y + reach_y) * column_per_y;
    integers_between(std::fmax(std::fmin(x0, x1), std::fmin(y0, y1)),
                     std::fmin(std::fmax(x0, x1), std::fmax(y0, y1)), Index(out_width), first, last);
  }

  // Returns the weight of the tap of an output pixel on (u, v), which is a pixel of the map, or 0 if it has
  // none.
  template <class Index>
  HOST_DEVICE T weight(Index u, Index v, Index column, Index row) const {
    const T x = to_map.x(T(column), T(row)), y = to_map.y(T(column), T(row));
    return std::fmax(1 - std::fabs(x - T(u)), T(0)) * std::fmax(1 - std::fabs(y - T(v)), T(0));
  }

  // Calls visit(column, row, weight) for each output pixel with a tap on (u, v), row by row.
  template <class Index, class Visit>
  HOST_DEVICE void visit(Index u, Index v, const Visit& visit) const {
    Index row, last_row, column, last_column;
    for (rows(u, v, row, last_row); row <= last_row; ++row)
      for (columns(u, v, row, column, last_column); column <= last_column; ++column)
        if (const T tap = weight(u, v, column, row); tap != 0) visit(column, row, tap);
  }
};

// `to_map` maps output pixels to input coordinates. If it is not finite, no pixel has a tap. If it is
// singular the result is still correct, but all rows are searched.
template <class T>
HOST_DEVICE AffineFootprint<T> affine_footprint(const Affine<T>& to_map, int64_t height, int64_t width,
                                                int64_t out_height, int64_t out_width) {
  const Affine<T>& m = to_map;
  AffineFootprint<T> f = {};
  if (!is_finite(m)) return f;
  f.to_map = to_map;
  f.out_height = out_height;
  f.out_width = out_width;
  constexpr T rounding = sizeof(T) == sizeof(double) ? T(0x1p-48) : T(0x1p-19);  // 16 units in the last place
  const T w = T(out_width), h = T(out_height);
  f.reach_x = 1 + rounding * (std::fabs(m.a) * w + std::fabs(m.b) * h + std::fabs(m.c) + T(width));
  f.reach_y = 1 + rounding * (std::fabs(m.d) * w + std::fabs(m.e) * h + std::fabs(m.f) + T(height));
  f.left = m.c + std::fmin(m.a * (w - 1), T(0)) + std::fmin(m.b * (h - 1), T(0)) - f.reach_x;
  f.right = m.c + std::fmax(m.a * (w - 1), T(0)) + std::fmax(m.b * (h - 1), T(0)) + f.reach_x;
  f.top = m.f + std::fmin(m.d * (w - 1), T(0)) + std::fmin(m.e * (h - 1), T(0)) - f.reach_y;
  f.bottom = m.f + std::fmax(m.d * (w - 1), T(0)) + std::fmax(m.e * (h - 1), T(0)) + f.reach_y;
  f.column_per_x = 1 / m.a;
  f.column_per_y = 1 / m.d;
  const Affine<T> to_output = affine_cast<T>(inverse(affine_cast<double>(to_map)));
  f.row_per_x = to_output.d;
  f.row_per_y = to_output.e;
  f.row_at_origin = to_output.f;
  f.row_reach = std::fabs(to_output.d) * f.reach_x + std::fabs(to_output.e) * f.reach_y;
  return f;
}

}  // namespace pose2seg
