#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuda/launch.cuh"

// Correct kernels, and kernels with undefined behaviour on a GPU: ./self_test NAME

namespace pose2seg {
namespace {

constexpr int kThreads = 96;
constexpr unsigned int kWholeWarp = 0xffffffff;

// Every thread adds the value of its left neighbour, which only a barrier makes visible.
__global__ void exchange(int* values) {
  __shared__ int shared[kThreads];
  for (int round = 0; round < 3; ++round) {
    shared[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    values[threadIdx.x] += shared[(threadIdx.x + kThreads - 1) % kThreads];
    __syncthreads();
  }
}

__global__ void warp_sum(int* values) {
  int sum = values[threadIdx.x];
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(kWholeWarp, sum, distance);
  values[threadIdx.x] = sum;
}

__global__ void shuffle_with_ended_lanes(int* values) {
  if (threadIdx.x % kWarpSize >= 16) return;
  values[threadIdx.x] = __shfl_xor_sync(kWholeWarp, values[threadIdx.x], 1);
}

__global__ void shuffle_without_itself(int* values) {
  values[threadIdx.x] = __shfl_xor_sync(0x0000ffff, values[threadIdx.x], 1);
}

__global__ void barrier_beside_a_shuffle(int* values) {
  if (threadIdx.x == 0)
    __syncthreads();
  else
    values[threadIdx.x] = __shfl_xor_sync(kWholeWarp, values[threadIdx.x], 1);
}

__global__ void too_many_threads(int*) {}

int run(const char* name) {
  const auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
  int values[kThreads];
  for (int i = 0; i < kThreads; ++i) values[i] = i;
  if (is("exchange")) launch(exchange, dim3(1), dim3(kThreads), nullptr, values);
  if (is("warp_sum")) launch(warp_sum, dim3(1), dim3(kThreads), nullptr, values);
  if (is("shuffle_with_ended_lanes"))
    launch(shuffle_with_ended_lanes, dim3(1), dim3(kThreads), nullptr, values);
  if (is("shuffle_without_itself")) launch(shuffle_without_itself, dim3(1), dim3(kThreads), nullptr, values);
  if (is("barrier_beside_a_shuffle"))
    launch(barrier_beside_a_shuffle, dim3(1), dim3(kThreads), nullptr, values);
  if (is("old_driver")) check_cuda(cudaErrorInsufficientDriver);
  if (is("other_gpu")) check_cuda(cudaErrorNoKernelImageForDevice);
  if (is("too_many_threads")) launch(too_many_threads, dim3(1), dim3(1025), nullptr, values);
  for (const int value : values) std::printf("%d ", value);
  return 0;
}

}  // namespace
}  // namespace pose2seg

int main(int, char** arguments) { return pose2seg::run(arguments[1]); }
