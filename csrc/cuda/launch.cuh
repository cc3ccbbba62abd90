#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

namespace pose2seg {

constexpr int kWarpSize = 32;
constexpr unsigned int kAllLanes = 0xffffffff;

// Throws what went wrong. A driver that is too old for the CUDA toolkit of this build, or a GPU that no
// kernel was compiled for, is said in words that lead to the cause.
void check_cuda(cudaError_t error);

// The only place that launches a kernel. Throws when the launch itself is refused; nothing synchronises.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
            Arguments&&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  check_cuda(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

// Blocks of `size` that cover `count`, as the x extent of a grid.
inline unsigned int blocks_for(int64_t count, int64_t size) {
  const int64_t blocks = (count + size - 1) / size;
  if (blocks > INT32_MAX) throw std::runtime_error("CUDA launch: more than 2^31 - 1 blocks");
  return static_cast<unsigned int>(blocks);
}

}  // namespace pose2seg
