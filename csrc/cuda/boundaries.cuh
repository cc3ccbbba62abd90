#pragma once

#include "core/mask_boundaries.h"
#include "cuda/launch.cuh"
#include "cuda/vector.cuh"

// Finds the boundaries of masks with two kernels, each with one block per stripe of 32 columns. Each lane is
// mapped to a column, and the rows are divided among 8 warps, so that a warp reads neighbouring pixels of a
// row. The first kernel counts the boundaries of each thread and, within the stripe, those that come before
// them; the second adds the counts of the preceding stripes, processes the pixels again and stores the
// boundaries. The order is fixed by the arithmetic, without atomics, so the bits are the same on every run.
//
// `Pixels` describes the pixels of a stripe: the rows [top, bottom) that may hold ones, the height of the
// mask, covers(column), and ones(column, row, count), whose bit i is set if the pixel (column, row + i) is
// one. All lanes of a warp call it with the same row, each with its column and a count of up to 32, which is
// 0 if its column does not exist. The row always exists.

namespace pose2seg {

constexpr int kWarps = kStripeThreads / kWarpSize;
static_assert(kStripeWidth == kWarpSize, "one lane per column");

// Calls visit(row, boundaries), on all lanes, for every 32 of the rows of the warp: bit i of `boundaries` is
// set if the column of the lane has a boundary at row + i. The row below the bottom is included, since runs
// of ones end there. Rows are unsigned, since a column may have 2^31 - 1 of them, and this counts one more.
template <class Pixels, class Visit>
__device__ void visit_boundaries(const Pixels& pixels, int column, const Visit& visit) {
  const uint32_t top = pixels.top, bottom = pixels.bottom, share = (bottom - top) / kWarps + 1;
  const uint32_t first = top + threadIdx.x / kWarpSize * share, last = min(first + share, bottom + 1);
  const bool covered = pixels.covers(column);
  if (first >= last || top == bottom || __ballot_sync(kAllLanes, covered) == 0) return;
  const uint32_t end = covered ? bottom : top;
  uint32_t inside = pixels.ones(column, int(max(first, 1u)) - 1, first > top && first <= end);
  for (uint32_t start = first; start < last; start += kWarpSize) {
    const uint32_t count = min(last - start, uint32_t(kWarpSize));
    const uint32_t ones = pixels.ones(column, int(start), start < end ? int(min(count, end - start)) : 0);
    visit(start, (ones ^ (ones << 1 | inside)) & kAllLanes >> (kWarpSize - count));
    inside = ones >> (count - 1);
  }
}

// Reads the pixels of a stripe, and writes its number of boundaries and, for each thread, the number of
// boundaries that precede its own.
template <class Pixels>
__device__ void count_stripe(const Pixels& pixels, const MaskBoundaries& output, const MaskStripes& of_mask,
                             int64_t stripe) {
  __shared__ uint32_t counts[kWarps][kWarpSize];
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  uint32_t count = 0;
  visit_boundaries(pixels, int(stripe) * kWarpSize + lane,
                   [&](uint32_t, uint32_t boundaries) { count += __popc(boundaries); });
  counts[warp][lane] = count;
  __syncthreads();
  uint32_t before = 0, column = 0;
  for (int i = 0; i < kWarps; ++i) {
    if (i < warp) before += counts[i][lane];
    column += counts[i][lane];
  }
  uint32_t sum = column;  // over the columns up to this one
  for (int distance = 1; distance < kWarpSize; distance *= 2) {
    const uint32_t other = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane >= distance) sum += other;
  }
  const int64_t block = of_mask.first + stripe;
  output.ranks[block * kStripeThreads + threadIdx.x] = sum - column + before;
  if (threadIdx.x == kWarpSize - 1) output.stripe_counts[block] = sum;
}

// Calls visit(rank, column, row) for the boundaries in 32 rows of a stripe. Each lane holds the boundaries of
// its column and the rank of the first. The columns are processed one after the other with one row per lane,
// so that neighbouring lanes have neighbouring ranks.
template <class Visit>
__device__ void visit_by_rank(uint32_t boundaries, uint32_t rank, int lane, const Visit& visit) {
  for (uint32_t columns = __ballot_sync(kAllLanes, boundaries != 0); columns != 0; columns &= columns - 1) {
    const int column = __ffs(int(columns)) - 1;
    const uint32_t rows = __shfl_sync(kAllLanes, boundaries, column);
    const uint32_t first = __shfl_sync(kAllLanes, rank, column);
    if (rows >> lane & 1) visit(first + __popc(rows & ((1u << lane) - 1)), column, lane);
  }
}

// Reads the pixels of a stripe and the results of count_stripe, and writes the boundaries of the stripe,
// which are one contiguous piece, through shared memory, so that neighbouring threads write neighbouring
// boundaries.
template <class Pixels>
__device__ void store_stripe(const Pixels& pixels, const MaskBoundaries& output, const MaskStripes& of_mask,
                             int64_t mask, int64_t stripe) {
  constexpr uint32_t kAtOnce = 1024;
  __shared__ uint32_t found[kAtOnce];
  const int lane = threadIdx.x % kWarpSize, first_column = int(stripe) * kWarpSize;
  const uint32_t* counts = output.stripe_counts + of_mask.first;
  uint32_t before = 0;
  for (int64_t i = lane; i < stripe; i += kWarpSize) before += counts[i];
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    before += __shfl_xor_sync(kAllLanes, before, distance);
  const uint32_t count = counts[stripe];
  if (stripe == of_mask.count - 1 && threadIdx.x == 0) output.counts[mask] = before + count;

  const uint32_t first_rank = output.ranks[(of_mask.first + stripe) * kStripeThreads + threadIdx.x];
  const int64_t per_stripe = kStripeWidth * output.per_column;
  const int64_t room = of_mask.count * per_stripe - before;
  const uint32_t stored = room > 0 ? uint32_t(min(int64_t(count), room)) : 0;
  uint32_t* boundaries = output.boundaries + of_mask.first * per_stripe + before;
  for (uint32_t start = 0; start < count; start += kAtOnce) {
    uint32_t rank = first_rank - start;  // wraps to a large number below the start
    visit_boundaries(pixels, first_column + lane, [&](uint32_t row, uint32_t of_column) {
      visit_by_rank(of_column, rank, lane, [&](uint32_t place, int column, int down) {
        if (place < kAtOnce)
          found[place] = uint32_t(first_column + column) * uint32_t(pixels.height) + row + uint32_t(down);
      });
      rank += __popc(of_column);
    });
    __syncthreads();
    // Warps start at whole sectors, wherever this piece starts.
    const int skew = int(reinterpret_cast<uintptr_t>(boundaries + start) / sizeof(uint32_t) %
                         (kSectorBytes / sizeof(uint32_t)));
    const int last = start < stored ? int(min(kAtOnce, stored - start)) : 0;
    for (int i = int(threadIdx.x) - skew; i < last; i += kStripeThreads)
      if (i >= 0) boundaries[start + i] = found[i];
    __syncthreads();
  }
}

}  // namespace pose2seg
