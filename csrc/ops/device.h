#pragma once

#include <ATen/core/Tensor.h>

#ifdef POSE2SEG_WITH_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace pose2seg {

#ifdef POSE2SEG_WITH_CUDA
#define CUDA_KERNEL(name) name
#else
#define CUDA_KERNEL(name) nullptr
#endif

// Runs an op's kernel where `tensor` lives: on CUDA on the current stream of that device.
template <class Params, class CudaKernel>
void run_on_device_of(const at::Tensor& tensor, const Params& params, void (*cpu)(const Params&),
                      [[maybe_unused]] CudaKernel cuda) {
  if (tensor.is_cpu()) return cpu(params);
#ifdef POSE2SEG_WITH_CUDA
  const c10::cuda::CUDAGuard guard(tensor.device());
  cuda(params, c10::cuda::getCurrentCUDAStream());
#endif
}

}  // namespace pose2seg
