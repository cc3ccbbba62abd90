#pragma once

#include <cstdint>
#include <type_traits>

#include "core/affine.h"
#include "core/bilinear.h"
#include "core/dtype.h"
#include "core/range.h"
#include "core/rounded.h"
#include "core/vector2.h"

namespace pose2seg {

// The parameters of paste_masks, for masks or opacities, and of paste_rle.

// An instance and the destination of its mask, which the host must know because they determine the shape of
// the output.
struct PasteTarget {
  const void* roi;     // (roi_height, roi_width) probabilities, contiguous
  const void* matrix;  // (2, 3) contiguous, image -> RoI; float, or double with double probabilities
  int64_t image;
  int64_t height, width;  // of the image
  void* pixels;           // (height, width) bytes, on the device; null if the output is run lengths
  int64_t first_stripe;   // of its boundaries, among those of all masks; 0 if the output is pixels
};

struct PasteParams {
  const PasteTarget* targets;  // on the host
  int64_t target_count;
  int64_t roi_height, roi_width;
  double threshold;  // of masks
  DType dtype;
  bool opacities;  // whether the output is opacities (uint8_t) rather than masks (bool)
};

// Pixels [left, right) x [top, bottom) of an image; the mask is 0 everywhere outside.
struct Footprint {
  int64_t left, right, top, bottom;

  HOST_DEVICE bool empty() const { return left >= right || top >= bottom; }
};

// Whether a matrix has a finite inverse, given finite entries. Products of two floats are exact in double.
HOST_DEVICE bool is_invertible(const Affine<float>& m) {
  return double(m.a) * double(m.e) != double(m.b) * double(m.d);
}
HOST_DEVICE bool is_invertible(const Affine<double>& m) { return is_finite(inverse(m)); }

// Returns the bounding box of the RoI in the image, including the taps that reach one pixel beyond its
// corners, and what rounded coordinates add. The box of a singular or non-finite matrix is empty.
HOST_DEVICE Footprint paste_footprint(const Affine<double>& image_to_roi, int64_t roi_height,
                                      int64_t roi_width, int64_t height, int64_t width) {
  constexpr double kRounding = 0x1p-22;  // of a few operations in float
  const Affine<double>&n = image_to_roi, m = inverse(image_to_roi);
  const double w = double(roi_width), h = double(roi_height), columns = double(width), rows = double(height);
  const double x = kRounding * (std::fabs(n.a) * columns + std::fabs(n.b) * rows + std::fabs(n.c));
  const double y = kRounding * (std::fabs(n.d) * columns + std::fabs(n.e) * rows + std::fabs(n.f));
  const double across = std::fabs(m.a) * x + std::fabs(m.b) * y,
               down = std::fabs(m.d) * x + std::fabs(m.e) * y;
  const double left = std::fmin(-m.a, m.a * w) + std::fmin(-m.b, m.b * h) + m.c - across;
  const double right = std::fmax(-m.a, m.a * w) + std::fmax(-m.b, m.b * h) + m.c + across;
  const double top = std::fmin(-m.d, m.d * w) + std::fmin(-m.e, m.e * h) + m.f - down;
  const double bottom = std::fmax(-m.d, m.d * w) + std::fmax(-m.e, m.e * h) + m.f + down;
  if (!(std::isfinite(left) && std::isfinite(right) && std::isfinite(top) && std::isfinite(bottom)))
    return {};
  return {clamp_index(std::floor(left), width), clamp_index(std::ceil(right) + 1, width),
          clamp_index(std::floor(top), height), clamp_index(std::ceil(bottom) + 1, height)};
}

template <class T>
HOST_DEVICE Affine<double> image_to_roi(const PasteTarget& target) {
  return load_affine(static_cast<const accumulate_t<T>*>(target.matrix));
}

// Converts a probability to a pixel. In a mask, this is whether it is above the threshold; as an opacity, it
// is clamped to [0, 1], with NaN as 0, multiplied by 255 and rounded.
template <class Pixel, class T>
HOST_DEVICE Pixel to_pixel(T probability, T threshold) {
  if constexpr (std::is_same_v<Pixel, bool>) {
    return probability > threshold;
  } else {
    const T within = probability > 0 ? (probability < 1 ? probability : T(1)) : T(0);
    return static_cast<Pixel>(static_cast<int32_t>(fused(within, T(255), T(0.5))));
  }
}

// The coordinates in the RoI of the pixels of a row of the image, with the same bits in every kernel. They
// rise or fall monotonically along the row, and along a column likewise.
template <class T>
struct RowInRoi {
  T a, d;  // per column
  T x, y;  // of column 0

  HOST_DEVICE RowInRoi(const Affine<T>& m, T row)
      : a(m.a), d(m.d), x(fused(m.b, row, m.c)), y(fused(m.e, row, m.f)) {}

  HOST_DEVICE Vector2<T> at(T column) const { return {fused(a, column, x), fused(d, column, y)}; }
};

// Computes the probability at a point of the RoI, from four taps.
template <class T, class Coordinate>
HOST_DEVICE Coordinate paste_probability(const PasteParams& params, const T* roi, Vector2<Coordinate> point) {
  const auto width = int32_t(params.roi_width), height = int32_t(params.roi_height);
  // At these bounds, which NaN is replaced by too, no tap is present. An int cannot hold every point beyond.
  const Coordinate x = std::fmin(std::fmax(point.x, Coordinate(-2)), Coordinate(width));
  const Coordinate y = std::fmin(std::fmax(point.y, Coordinate(-2)), Coordinate(height));
  const int32_t column = int32_t(std::floor(x)), row = int32_t(std::floor(y));
  const int32_t index = row * width + column;
  const bool has_left = uint32_t(column) < uint32_t(width), has_upper = uint32_t(row) < uint32_t(height);
  const bool has_right = uint32_t(column + 1) < uint32_t(width);
  const bool has_lower = uint32_t(row + 1) < uint32_t(height);
  const Coordinate values[] = {has_upper && has_left ? Coordinate(roi[index]) : Coordinate(0),
                               has_upper && has_right ? Coordinate(roi[index + 1]) : Coordinate(0),
                               has_lower && has_left ? Coordinate(roi[index + width]) : Coordinate(0),
                               has_lower && has_right ? Coordinate(roi[index + width + 1]) : Coordinate(0)};
  return fused_interpolate(x - Coordinate(column), y - Coordinate(row), values);
}

}  // namespace pose2seg
