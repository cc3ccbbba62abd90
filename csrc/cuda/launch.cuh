#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <utility>

namespace pose2seg {

constexpr int kWarpSize = 32;
constexpr unsigned int kAllLanes = 0xffffffff;

// The number of blocks with which every multiprocessor of the largest GPUs has work.
constexpr int64_t kEnoughBlocks = 256;

// Throws std::runtime_error unless `error` is cudaSuccess. For a driver that is older than the CUDA toolkit
// of this build, and for a GPU that no kernel was compiled for, the message states the cause and the remedy.
void check_cuda(cudaError_t error);

// Launches a kernel; every launch goes through this function. Throws if the launch itself is refused; does
// not synchronise.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
            Arguments&&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  check_cuda(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

// Returns the number of blocks of `size` that cover `count`, as the x extent of a grid.
inline unsigned int blocks_for(int64_t count, int64_t size) {
  const int64_t blocks = (count + size - 1) / size;
  if (blocks > INT32_MAX) throw std::runtime_error("CUDA launch: more than 2^31 - 1 blocks");
  return static_cast<unsigned int>(blocks);
}

}  // namespace pose2seg
