#pragma once

#include <cstdint>

#include "core/affine.h"

namespace pose2seg {

// Where the output pixel (i, j) of affine_align samples its input; M maps input to output.
enum class Convention {
  kInteger,    // M^-1 (i, j): pixel centres at integers, as in cv2.warpAffine
  kHalfPixel,  // M^-1 (i + .5, j + .5) - (.5, .5): as in grid_sample with align_corners=False
  kPose2Seg,   // D^-1 M^-1 D (i, j), D = diag(W / (W - 1), H / (H - 1)): used to train the official weights
  kInverse,    // M (i, j): M maps output to input, as in cv2.warpAffine with WARP_INVERSE_MAP
};

// The factors by which D^-1 m D multiplies the entries of m. If a side has one pixel, its only coordinate is
// 0.
HOST_DEVICE Affine<double> pose2seg_factors(int64_t height, int64_t width) {
  const bool wide = width > 1, high = height > 1;
  const double shrink_x = double(width - 1) / double(width), shrink_y = double(height - 1) / double(height);
  return {wide ? 1.0 : 0.0, wide && high ? shrink_x / shrink_y : 0.0,
          shrink_x,         wide && high ? shrink_y / shrink_x : 0.0,
          high ? 1.0 : 0.0, shrink_y};
}

HOST_DEVICE Affine<double> multiply_entries(const Affine<double>& m, const Affine<double>& by) {
  return {m.a * by.a, m.b * by.b, m.c * by.c, m.d * by.d, m.e * by.e, m.f * by.f};
}

// Returns the transform from output pixels to input coordinates.
HOST_DEVICE Affine<double> sampling_transform(const Affine<double>& input_to_output, Convention convention,
                                              int64_t height, int64_t width) {
  if (convention == Convention::kInverse) return input_to_output;
  Affine<double> m = inverse(input_to_output);
  if (convention == Convention::kHalfPixel) {
    m.c += 0.5 * (m.a + m.b) - 0.5;
    m.f += 0.5 * (m.d + m.e) - 0.5;
  }
  if (convention == Convention::kPose2Seg) m = multiply_entries(m, pose2seg_factors(height, width));
  return m;
}

// Computes dL/d(input_to_output) from dL/d(sampling transform). The result is zero if the matrix has no
// finite inverse.
HOST_DEVICE Affine<double> sampling_transform_gradient(const Affine<double>& input_to_output,
                                                       Affine<double> grad, Convention convention,
                                                       int64_t height, int64_t width) {
  if (convention == Convention::kInverse) return is_finite(input_to_output) ? grad : Affine<double>{};
  const Affine<double> m = inverse(input_to_output);
  if (!is_finite(m)) return {};
  if (convention == Convention::kHalfPixel) {
    grad.a += 0.5 * grad.c;
    grad.b += 0.5 * grad.c;
    grad.d += 0.5 * grad.f;
    grad.e += 0.5 * grad.f;
  }
  if (convention == Convention::kPose2Seg) grad = multiply_entries(grad, pose2seg_factors(height, width));
  return inverse_gradient(m, grad);
}

}  // namespace pose2seg
