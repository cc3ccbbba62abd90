#pragma once

#include <cmath>

#include "core/affine.h"
#include "core/host_device.h"

namespace pose2seg {

// The letterbox resize: scales the source to fit into the output and centres it there. Shifts are in output
// pixels.
struct CentredResize {
  double scale, shift_x, shift_y;

  HOST_DEVICE Affine<double> matrix() const { return {scale, 0, shift_x, 0, scale, shift_y}; }
};

HOST_DEVICE CentredResize centred_resize(double source_height, double source_width, double output_height,
                                         double output_width) {
  const double scale = std::fmin(output_height / source_height, output_width / source_width);
  return {scale, (output_width - scale * source_width) / 2, (output_height - scale * source_height) / 2};
}

}  // namespace pose2seg
