#pragma once

#include <cstdint>

#include "core/affine.h"

namespace pose2seg {

// Where the output pixel (i, j) of an affine-align samples its input, M being input -> output.
enum class Convention {
  kInteger,    // M^-1 (i, j): pixel centres at integers, as cv2.warpAffine
  kHalfPixel,  // M^-1 (i + .5, j + .5) - (.5, .5): as grid_sample with align_corners=False
  kPose2Seg,   // D^-1 M^-1 D (i, j), D = diag(W / (W - 1), H / (H - 1)): what the official weights saw
};

// Output pixel -> input coordinates.
HOST_DEVICE Affine<double> sampling_transform(const Affine<double>& input_to_output, Convention convention,
                                              int64_t height, int64_t width) {
  Affine<double> m = inverse(input_to_output);
  if (convention == Convention::kHalfPixel) {
    m.c += 0.5 * (m.a + m.b) - 0.5;
    m.f += 0.5 * (m.d + m.e) - 0.5;
  }
  if (convention == Convention::kPose2Seg) {
    const double shrink_x = double(width - 1) / double(width), shrink_y = double(height - 1) / double(height);
    // A side of one pixel has only the coordinate 0.
    m = {width > 1 ? m.a : 0.0,  width > 1 && height > 1 ? m.b * (shrink_x / shrink_y) : 0.0,
         m.c * shrink_x,         width > 1 && height > 1 ? m.d * (shrink_y / shrink_x) : 0.0,
         height > 1 ? m.e : 0.0, m.f * shrink_y};
  }
  return m;
}

}  // namespace pose2seg
