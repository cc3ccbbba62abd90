#pragma once

#include <cstdint>

#include "core/affine.h"
#include "core/bilinear.h"
#include "core/dtype.h"
#include "core/range.h"

struct CUstream_st;

namespace pose2seg {

// Where one person's mask goes: known on the host, since it decides the shape of the output.
struct PasteTarget {
  int64_t instance;  // row of probabilities and matrices
  int64_t offset;    // of its mask in the output
  int64_t height, width;
};

struct PasteMasksParams {
  const void* probabilities;  // (instances, roi_height, roi_width) contiguous
  const void* matrices;       // (instances, 2, 3) contiguous, image -> RoI; float, or double with double data
  bool* output;               // all masks, one after the other
  const PasteTarget* targets;  // on the host
  int64_t target_count;
  int64_t roi_height, roi_width;
  double threshold;
  DType dtype;
};

// Pixels [left, right) x [top, bottom) of an image; everything outside is certainly 0.
struct Footprint {
  int64_t left, right, top, bottom;
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
HOST_DEVICE const T* roi_pixels(const PasteMasksParams& params, int64_t instance) {
  return static_cast<const T*>(params.probabilities) + instance * params.roi_height * params.roi_width;
}

template <class T, class Coordinate>
HOST_DEVICE bool paste_pixel(const PasteMasksParams& params, const T* roi,
                             const Affine<Coordinate>& image_to_roi, int64_t column, int64_t row) {
  const Coordinate x = image_to_roi.x(Coordinate(column), Coordinate(row));
  const Coordinate y = image_to_roi.y(Coordinate(column), Coordinate(row));
  const auto taps = bilinear_taps(x, y, params.roi_height, params.roi_width);
  const auto value = [&](int64_t tap_x, int64_t tap_y) {
    return Coordinate(roi[tap_y * params.roi_width + tap_x]);
  };
  return taps.interpolate(value) > Coordinate(params.threshold);
}

void paste_masks_cpu(const PasteMasksParams& params);
void paste_masks_cuda(const PasteMasksParams& params, CUstream_st* stream);

}  // namespace pose2seg
