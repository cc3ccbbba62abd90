#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace pose2seg {

// Returns `value` as an index in [0, extent]; NaN gives 0. It takes a double, since a float cannot hold every
// extent, and clamps before the conversion, since the value may exceed every integer.
HOST_DEVICE int64_t clamp_index(double value, int64_t extent) {
  return int64_t(std::fmin(std::fmax(value, 0.0), double(extent)));
}

}  // namespace pose2seg
