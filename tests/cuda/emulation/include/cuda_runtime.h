#pragma once

// Replacement of the CUDA runtime: the part of the language and of the API that the kernels use, on the CPU.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

#define __CUDACC__ 1
#define __CUDA_ARCH__ 900
#define __global__
#define __device__
#define __host__
#define __shared__ static thread_local
#define __launch_bounds__(...)

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

struct CUstream_st;
using cudaStream_t = CUstream_st*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoKernelImageForDevice = 209,
};
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid configuration argument";
}

inline cudaError_t cudaGetLastError() { return cudaSuccess; }

// One device, with a driver that is older than the toolkit.
#define CUDART_VERSION 13000
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = 12040;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

namespace cuda_emulation {

// Runs the kernel for every thread of every block: blocks one after the other, threads as fibers.
cudaError_t run_grid(const cudaLaunchConfig_t& config, const std::function<void()>& kernel);

// Suspends the calling thread until every thread of its block, or every lane of its warp in `mask`, has
// arrived. Waiting for a lane that has ended, or that waits with another mask, ends the process.
void wait_for_block();
void wait_for_lanes(unsigned int mask);

// Like wait_for_block, but returns whether `predicate` was true for every thread that arrived.
bool all_of_block(bool predicate);

// One 8-byte mailbox for each lane of the calling thread's warp.
uint64_t& mailbox(unsigned int lane);
unsigned int lane();

}  // namespace cuda_emulation

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  return cuda_emulation::run_grid(*config, [&] { kernel(Parameters(arguments)...); });
}

inline void __syncthreads() { cuda_emulation::wait_for_block(); }
inline int __syncthreads_and(int predicate) { return cuda_emulation::all_of_block(predicate != 0); }
inline void __syncwarp(unsigned int mask = 0xffffffff) { cuda_emulation::wait_for_lanes(mask); }

template <class T>
T __shfl_sync(unsigned int mask, T value, int source) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most 8 bytes");
  using namespace cuda_emulation;
  *reinterpret_cast<T*>(&mailbox(lane())) = value;
  wait_for_lanes(mask);
  const T other = *reinterpret_cast<T*>(&mailbox(static_cast<unsigned int>(source) % 32));
  wait_for_lanes(mask);
  return other;
}

template <class T>
T __shfl_xor_sync(unsigned int mask, T value, int lane_mask) {
  return __shfl_sync(mask, value, int(cuda_emulation::lane()) ^ lane_mask);
}

template <class T>
T __shfl_up_sync(unsigned int mask, T value, unsigned int distance) {
  const unsigned int lane = cuda_emulation::lane();
  return __shfl_sync(mask, value, int(lane < distance ? lane : lane - distance));
}

inline unsigned int __ballot_sync(unsigned int mask, bool predicate) {
  using namespace cuda_emulation;
  mailbox(lane()) = predicate;
  wait_for_lanes(mask);
  unsigned int lanes = 0;
  for (unsigned int i = 0; i < 32; ++i)
    if ((mask >> i & 1) != 0 && mailbox(i) != 0) lanes |= 1u << i;
  wait_for_lanes(mask);
  return lanes;
}

// volatile, so that the compiler does not fuse the multiplication with an addition.
template <class T>
T rounded_multiplication(T a, T b) {
  volatile T product = a * b;
  return product;
}
inline float __expf(float x) { return std::exp(x); }
inline float __fmul_rn(float a, float b) { return rounded_multiplication(a, b); }
inline double __dmul_rn(double a, double b) { return rounded_multiplication(a, b); }

inline int __popc(unsigned int bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

using std::max;
using std::min;
