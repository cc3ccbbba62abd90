#pragma once

#include <cstdint>
#include <type_traits>

#include "core/affine.h"
#include "core/bilinear.h"
#include "core/dtype.h"
#include "core/range.h"
#include "core/rounded.h"

namespace pose2seg {

// The parameters of paste_masks, for masks or opacities, and of paste_rle.

// An instance and the destination of its mask, which the host must know because they determine the shape of
// the output.
struct PasteTarget {
  int64_t instance;  // row of probabilities and matrices
  int64_t image;
  int64_t height, width;  // of the image
  void* pixels;           // (height, width) bytes, on the device; null if the output is run lengths
  int64_t first_stripe;   // of its boundaries, among those of all masks; 0 if the output is pixels
};

struct PasteParams {
  const void* probabilities;  // (instances, roi_height, roi_width) contiguous
  const void* matrices;       // (instances, 2, 3) contiguous, image -> RoI; float, or double with double data
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

// Returns the bounding box of the RoI in the image, including the taps that reach one pixel beyond its
// corners. The box of a singular or non-finite matrix is empty.
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

// Converts a probability to a pixel. In a mask, this is whether it is above the threshold; as an opacity, it
// is clamped to [0, 1], with NaN as 0, multiplied by 255 and rounded.
template <class Pixel, class T>
HOST_DEVICE Pixel to_pixel(T probability, T threshold) {
  if constexpr (std::is_same_v<Pixel, bool>) {
    return probability > threshold;
  } else {
    const T within = probability > 0 ? (probability < 1 ? probability : T(1)) : T(0);
    return static_cast<Pixel>(static_cast<int32_t>(rounded_product(within, T(255)) + T(0.5)));
  }
}

// Computes a pixel of a mask or of opacities.
template <class Pixel, class T, class Coordinate, class Index>
HOST_DEVICE Pixel paste_pixel(const PasteParams& params, const T* roi, const Affine<Coordinate>& image_to_roi,
                              Index column, Index row) {
  const auto& m = image_to_roi;
  const Coordinate c = Coordinate(column), r = Coordinate(row);
  const auto taps = bilinear_taps(rounded_product(m.a, c) + rounded_product(m.b, r) + m.c,
                                  rounded_product(m.d, c) + rounded_product(m.e, r) + m.f, params.roi_height,
                                  params.roi_width);
  const T* tap = roi + taps.y * params.roi_width + taps.x;
  const auto value = [&](Tap which) {
    return taps.has(which) ? Coordinate(tap[which / 2 * params.roi_width + which % 2]) : Coordinate(0);
  };
  const Coordinate values[] = {value(kUpperLeft), value(kUpperRight), value(kLowerLeft), value(kLowerRight)};
  return to_pixel<Pixel>(bilinear_weights(taps.right, taps.lower).rounded_interpolate(values),
                         Coordinate(params.threshold));
}

}  // namespace pose2seg
