#include "cuda/device_guard.h"
#include "cuda/launch.cuh"

namespace pose2seg {

DeviceGuard::DeviceGuard(int device) {
  check_cuda(cudaGetDevice(&previous_));
  if (previous_ != device) check_cuda(cudaSetDevice(device));
}

DeviceGuard::~DeviceGuard() {
  int current = previous_;
  cudaGetDevice(&current);
  if (current != previous_) cudaSetDevice(previous_);
}

}  // namespace pose2seg
