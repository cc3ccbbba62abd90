#pragma once

#include <cstdint>

#include "core/affine.h"
#include "core/bilinear.h"
#include "core/dtype.h"
#include "core/range.h"
#include "core/rounded.h"

namespace pose2seg {

// What pasting needs to know, whether masks or their run lengths come out.

// One person, and where the mask goes: known on the host, since it decides the shape of the output.
struct PasteTarget {
  int64_t instance;  // row of probabilities and matrices
  int64_t image;
  int64_t height, width;  // of the image
  bool* mask;             // (height, width), on the device; null where run lengths come out
};

struct PasteParams {
  const void* probabilities;  // (instances, roi_height, roi_width) contiguous
  const void* matrices;       // (instances, 2, 3) contiguous, image -> RoI; float, or double with double data
  const PasteTarget* targets;  // on the host
  int64_t target_count;
  int64_t roi_height, roi_width;
  double threshold;
  DType dtype;
};

// Pixels [left, right) x [top, bottom) of an image; everything outside is certainly 0.
struct Footprint {
  int64_t left, right, top, bottom;

  HOST_DEVICE bool empty() const { return left >= right || top >= bottom; }
};

// The box around the image of the RoI, whose taps reach one pixel beyond its corners. A singular or
// non-finite matrix has none.
HOST_DEVICE Footprint paste_footprint(const Affine<double>& image_to_roi, int64_t roi_height,
                                      int64_t roi_width, int64_t height, int64_t width) {
  const Affine<double> m = inverse(image_to_roi);
  const double w = double(roi_width), h = double(roi_height);
  const double left = std::fmin(-m.a, m.a * w) + std::fmin(-m.b, m.b * h) + m.c;
  const double right = std::fmax(-m.a, m.a * w) + std::fmax(-m.b, m.b * h) + m.c;
  const double top = std::fmin(-m.d, m.d * w) + std::fmin(-m.e, m.e * h) + m.f;
  const double bottom = std::fmax(-m.d, m.d * w) + std::fmax(-m.e, m.e * h) + m.f;
  if (!(std::isfinite(left) && std::isfinite(right) && std::isfinite(top) && std::isfinite(bottom)))
    return {};
  return {clamp_index(std::floor(left), width), clamp_index(std::ceil(right) + 1, width),
          clamp_index(std::floor(top), height), clamp_index(std::ceil(bottom) + 1, height)};
}

template <class T>
HOST_DEVICE Affine<double> image_to_roi(const PasteParams& params, int64_t instance) {
  return load_affine(static_cast<const accumulate_t<T>*>(params.matrices) + instance * 6);
}

template <class T>
HOST_DEVICE const T* roi_pixels(const PasteParams& params, int64_t instance) {
  return static_cast<const T*>(params.probabilities) + instance * params.roi_height * params.roi_width;
}

// The bilinear mean of the four taps around a point, in one order of roundings everywhere. A tap outside the
// RoI is 0.
template <class T>
HOST_DEVICE T mean_of_taps(T right, T lower, T upper_left, T upper_right, T lower_left, T lower_right) {
  const T left = 1 - right, upper = 1 - lower;
  T sum = rounded_product(rounded_product(upper, left), upper_left);
  sum += rounded_product(rounded_product(upper, right), upper_right);
  sum += rounded_product(rounded_product(lower, left), lower_left);
  return sum + rounded_product(rounded_product(lower, right), lower_right);
}

// Whether the probability at a pixel of the image is above the threshold.
template <class T, class Coordinate, class Index>
HOST_DEVICE bool paste_pixel(const PasteParams& params, const T* roi, const Affine<Coordinate>& image_to_roi,
                             Index column, Index row) {
  const auto& m = image_to_roi;
  const Coordinate c = Coordinate(column), r = Coordinate(row);
  const auto taps = bilinear_taps(rounded_product(m.a, c) + rounded_product(m.b, r) + m.c,
                                  rounded_product(m.d, c) + rounded_product(m.e, r) + m.f, params.roi_height,
                                  params.roi_width);
  const T* tap = roi + taps.y * params.roi_width + taps.x;
  const auto value = [&](bool inside, int64_t offset) {
    return inside ? Coordinate(tap[offset]) : Coordinate(0);
  };
  const int64_t below = params.roi_width;
  return mean_of_taps(taps.right, taps.lower, value(taps.has_upper && taps.has_left, 0),
                      value(taps.has_upper && taps.has_right, 1),
                      value(taps.has_lower && taps.has_left, below),
                      value(taps.has_lower && taps.has_right, below + 1)) > Coordinate(params.threshold);
}

}  // namespace pose2seg
