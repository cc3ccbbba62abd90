#include "core/run_length_writer.h"
#include "core/run_lengths.h"
#include "cuda/launch.cuh"
#include "cuda/launch_list.cuh"

// Encodes boundaries as COCO characters, as RunLengthWriter does, with one block per mask and one boundary
// per thread. One kernel counts the characters, which decides how much memory they need; the other stores
// them. Must move: 4 bytes per boundary, and the characters. Does move: the boundaries twice, each with its
// neighbours, which are in the cache, and the characters one byte at a time.

namespace pose2seg {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kBefore = 3;  // positions of earlier boundaries that a run depends on
using MaskList = LaunchList<MaskRuns, 96>;

// Returns the sum of the values of the threads before this one, and adds that of all threads to `total`.
__device__ uint32_t sum_before(uint32_t value, uint32_t& total) {
  __shared__ uint32_t warps[kWarps];
  const unsigned int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  uint32_t sum = value;  // up to this lane
  for (unsigned int distance = 1; distance < kWarpSize; distance *= 2) {
    const uint32_t other = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane >= distance) sum += other;
  }
  if (lane == kWarpSize - 1) warps[warp] = sum;
  __syncthreads();
  uint32_t before = sum - value;
  for (unsigned int i = 0; i < kWarps; ++i) {
    if (i < warp) before += warps[i];
    total += warps[i];
  }
  __syncthreads();
  return before;
}

// Whether the boundary begins a run. Two that are equal cancel, and the end of the mask begins none.
__device__ bool begins_run(const MaskRuns& mask, int64_t count, int64_t i) {
  const uint32_t* at = mask.boundaries + i;
  if (at[0] >= mask.pixels || (i > 0 && at[-1] == at[0])) return false;
  return i + 1 == count || at[1] != at[0];
}

// Returns the number of characters, and stores them if `kStore`.
template <bool kStore>
__device__ uint32_t encode_runs(const MaskRuns& mask) {
  __shared__ uint32_t positions[kBefore + kThreads];  // of the beginnings of runs, after those before them
  const int64_t count = min(*mask.count, mask.room);
  const unsigned int thread = threadIdx.x;
  if (thread < kBefore) positions[thread] = 0;
  uint32_t runs = 0, written = 0;
  // The last run ends at the end of the mask, which follows the boundaries.
  for (int64_t start = 0; start <= count; start += kThreads) {
    const int64_t i = start + thread;
    const bool begins = i == count || (i < count && begins_run(mask, count, i));
    uint32_t found = 0;
    const uint32_t index = sum_before(begins, found);
    if (begins) positions[kBefore + index] = i == count ? mask.pixels : mask.boundaries[i];
    __syncthreads();

    const uint32_t* end = positions + kBefore + thread;
    int64_t value = 0;
    uint32_t characters = 0, total = 0;
    if (thread < found) {
      value = int64_t(end[0] - end[-1]);
      if (runs + thread >= kFirstDifference) value -= int64_t(end[-2] - end[-3]);
      append_length(value, [&](char) { ++characters; });
    }
    const uint32_t offset = sum_before(characters, total);
    if (kStore && thread < found) {
      char* to = mask.characters + written + offset;
      append_length(value, [&](char character) { *to++ = character; });
    }
    runs += found;
    written += total;

    const uint32_t kept = thread < kBefore ? positions[found + thread] : 0;
    __syncthreads();
    if (thread < kBefore) positions[thread] = kept;
  }
  return written;
}

__global__ void __launch_bounds__(kThreads) count_characters(const MaskList list) {
  const MaskRuns& mask = list.items[blockIdx.x];
  const uint32_t count = encode_runs<false>(mask);
  if (threadIdx.x == 0) *mask.length = count;
}

__global__ void __launch_bounds__(kThreads) store_characters(const MaskList list) {
  encode_runs<true>(list.items[blockIdx.x]);
}

}  // namespace

void encode_runs_cuda(const RunLengthsParams& params, cudaStream_t stream) {
  MaskList::for_each(params.masks, params.mask_count, [&](const MaskList& list, int64_t, int64_t count) {
    const auto kernel = list.items[0].characters == nullptr ? count_characters : store_characters;
    launch(kernel, dim3(static_cast<unsigned int>(count)), dim3(kThreads), stream, list);
  });
}

}  // namespace pose2seg
