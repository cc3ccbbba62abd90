#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace pose2seg {

constexpr int kWarpSize = 32;

// The only place that launches a kernel. Throws when the launch itself is refused; nothing synchronises.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
            Arguments&&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  if (error == cudaSuccess) return;
  cudaGetLastError();  // else the next check anywhere in the process would find this error
  throw std::runtime_error(std::string("CUDA launch: ") + cudaGetErrorString(error));
}

// Blocks of `size` that cover `count`, as the x extent of a grid.
inline unsigned int blocks_for(int64_t count, int64_t size) {
  const int64_t blocks = (count + size - 1) / size;
  if (blocks > INT32_MAX) throw std::runtime_error("CUDA launch: more than 2^31 - 1 blocks");
  return static_cast<unsigned int>(blocks);
}

}  // namespace pose2seg
