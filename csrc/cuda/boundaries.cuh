#pragma once

#include "core/mask_boundaries.h"
#include "cuda/launch.cuh"
#include "cuda/vector.cuh"

// Boundaries of masks in two kernels, each with a block per stripe of 32 columns: a lane per column, and the
// rows shared out to 8 warps, so that a warp looks at neighbouring pixels of a row. The first kernel counts
// what every thread finds and, within the stripe, how much comes before; the second adds up the stripes
// before, walks once more and stores. Order is fixed by the arithmetic: no atomics, the same bits in every
// run.
//
// `Pixels` is where a stripe's pixels come from: the rows [top, bottom) that may hold ones, the mask's
// height, covers(column), and whether the pixel (column, row) is one.

namespace pose2seg {

constexpr int kWarps = kStripeThreads / kWarpSize;
static_assert(kStripeWidth == kWarpSize, "a lane per column");

// Calls visit(row, boundaries) for every 32 of the warp's rows, on all its lanes: bit i of `boundaries` says
// whether the lane's column has one at row + i. The row at the bottom counts as well, for ones end there.
// Rows are unsigned: a column may have 2^31 - 1 of them, and here one more.
template <class Pixels, class Visit>
__device__ void visit_boundaries(const Pixels& pixels, int column, const Visit& visit) {
  const uint32_t top = pixels.top, bottom = pixels.bottom, share = (bottom - top) / kWarps + 1;
  const uint32_t first = top + threadIdx.x / kWarpSize * share, last = min(first + share, bottom + 1);
  const bool covered = pixels.covers(column);
  if (first >= last || __ballot_sync(kAllLanes, covered) == 0) return;
  const uint32_t end = covered ? bottom : top;
  uint32_t inside = first > top && first <= end && pixels(column, int(first - 1));
  for (uint32_t start = first; start < last; start += kWarpSize) {
    const uint32_t count = min(last - start, uint32_t(kWarpSize));
    uint32_t ones = 0;
    for (uint32_t i = 0; i < count; ++i)
      if (start + i < end && pixels(column, int(start + i))) ones |= 1u << i;
    visit(start, (ones ^ (ones << 1 | inside)) & kAllLanes >> (kWarpSize - count));
    inside = ones >> (count - 1);
  }
}

// Reads the pixels of a stripe; writes its number of boundaries, and for each thread how many come before its
// own.
template <class Pixels>
__device__ void count_stripe(const Pixels& pixels, const MaskBoundaries& output, int64_t mask,
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
  uint32_t sum = column;  // of the columns up to this one
  for (int distance = 1; distance < kWarpSize; distance *= 2) {
    const uint32_t other = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane >= distance) sum += other;
  }
  const int64_t block = mask * output.stripes + stripe;
  output.ranks[block * kStripeThreads + threadIdx.x] = sum - column + before;
  if (threadIdx.x == kWarpSize - 1) output.stripe_counts[block] = sum;
}

// Calls visit(rank, column, row) for the boundaries in 32 rows of a stripe, of which each lane has those of
// its column, and the rank of their first. Takes the columns in turn, with a row a lane, so that neighbouring
// lanes have neighbouring ranks.
template <class Visit>
__device__ void visit_by_rank(uint32_t boundaries, uint32_t rank, int lane, const Visit& visit) {
  for (uint32_t columns = __ballot_sync(kAllLanes, boundaries != 0); columns != 0; columns &= columns - 1) {
    const int column = __ffs(int(columns)) - 1;
    const uint32_t rows = __shfl_sync(kAllLanes, boundaries, column);
    const uint32_t first = __shfl_sync(kAllLanes, rank, column);
    if (rows >> lane & 1) visit(first + __popc(rows & ((1u << lane) - 1)), column, lane);
  }
}

// Reads the pixels of a stripe and what count_stripe wrote; writes the stripe's boundaries, which are one
// contiguous piece, through shared memory, so that neighbouring threads write neighbouring ones.
template <class Pixels>
__device__ void store_stripe(const Pixels& pixels, const MaskBoundaries& output, int64_t mask,
                             int64_t stripe) {
  constexpr uint32_t kAtOnce = 1024;
  __shared__ uint32_t found[kAtOnce];
  const int lane = threadIdx.x % kWarpSize, first_column = int(stripe) * kWarpSize;
  const uint32_t* counts = output.stripe_counts + mask * output.stripes;
  uint32_t before = 0;
  for (int64_t i = lane; i < stripe; i += kWarpSize) before += counts[i];
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    before += __shfl_xor_sync(kAllLanes, before, distance);
  const uint32_t count = counts[stripe];
  if (stripe == output.stripes - 1 && threadIdx.x == 0) output.counts[mask] = before + count;

  const uint32_t first_rank = output.ranks[(mask * output.stripes + stripe) * kStripeThreads + threadIdx.x];
  uint32_t* boundaries = output.boundaries + mask * output.capacity;
  for (uint32_t start = 0; start < count; start += kAtOnce) {
    uint32_t rank = first_rank - start;  // below the start it wraps to a large number
    visit_boundaries(pixels, first_column + lane, [&](uint32_t row, uint32_t of_column) {
      visit_by_rank(of_column, rank, lane, [&](uint32_t place, int column, int down) {
        if (place < kAtOnce)
          found[place] = uint32_t(first_column + column) * uint32_t(pixels.height) + row + uint32_t(down);
      });
      rank += __popc(of_column);
    });
    __syncthreads();
    // Warps begin at whole sectors, wherever this piece begins.
    const int skew = int(reinterpret_cast<uintptr_t>(boundaries + before + start) / sizeof(uint32_t) %
                         (kSectorBytes / sizeof(uint32_t)));
    const int last = int(min(kAtOnce, count - start));
    for (int i = int(threadIdx.x) - skew; i < last; i += kStripeThreads) {
      const int64_t place = int64_t(before) + start + i;
      if (i >= 0 && place < output.capacity) boundaries[place] = found[i];
    }
    __syncthreads();
  }
}

}  // namespace pose2seg
