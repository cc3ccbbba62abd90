#include <string>

#include "cuda/launch.cuh"

namespace pose2seg {
namespace {

// Formats a CUDA version number: 13000 becomes "13.0".
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string explanation(cudaError_t error) {
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    return "pose2seg_ops was built with CUDA " + version_text(CUDART_VERSION) +
           ", and the installed driver supports CUDA " + version_text(driver) +
           ": update the driver, or build pose2seg_ops with an older CUDA toolkit";
  }
  if (error == cudaErrorNoKernelImageForDevice)
    return "pose2seg_ops has no kernels for this GPU: build it with TORCH_CUDA_ARCH_LIST set to the "
           "GPU's compute capability";
  return std::string("CUDA: ") + cudaGetErrorString(error);
}

}  // namespace

void check_cuda(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // clears the error, which the next check in the process would otherwise report
  throw std::runtime_error(explanation(error));
}

}  // namespace pose2seg
