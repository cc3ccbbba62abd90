#pragma once

#include "ops/runtime.h"

#ifdef POSE2SEG_WITH_CUDA
#include "cuda/device_guard.h"
#endif

namespace pose2seg {

#ifdef POSE2SEG_WITH_CUDA
#define CUDA_KERNEL(name) name
#else
#define CUDA_KERNEL(name) nullptr
#endif

// Runs the kernel of an op on the device of `tensor`: for CUDA on its current stream, for the meta device not
// at all.
template <class Params, class CudaKernel>
void run_on_device_of(const Tensor& tensor, const Params& params, void (*cpu)(const Params&),
                      [[maybe_unused]] CudaKernel cuda) {
  if (tensor.is_meta()) return;
  if (tensor.is_cpu()) {
    const ReleasedGil released;
    return cpu(params);
  }
#ifdef POSE2SEG_WITH_CUDA
  auto* stream = static_cast<CUstream_st*>(current_stream(tensor.device));
  const ReleasedGil released;
  const DeviceGuard guard(tensor.device.index);
  cuda(params, stream);
#endif
}

}  // namespace pose2seg
