#pragma once

#include "core/host_device.h"

namespace pose2seg {

// a * b, rounded before it is added to anything. A compiler may otherwise fuse the two in one kernel and not
// in another, and the same pixel would fall on either side of a threshold. (The CPU code is compiled with
// -ffp-contract=off.)
HOST_DEVICE float rounded_product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

HOST_DEVICE double rounded_product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

}  // namespace pose2seg
