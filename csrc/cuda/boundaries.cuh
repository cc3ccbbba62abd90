#pragma once

#include "core/rle.h"
#include "cuda/launch.cuh"

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
constexpr unsigned int kWholeWarp = 0xffffffff;
static_assert(kStripeWidth == kWarpSize, "a lane per column");

// Calls visit(position) at every boundary in this thread's part of its column.
template <class Pixels, class Visit>
__device__ void visit_boundaries(const Pixels& pixels, int column, const Visit& visit) {
  if (!pixels.covers(column)) return;
  const int share = (pixels.bottom - pixels.top + kWarps - 1) / kWarps;  // of the rows
  const int first = pixels.top + int(threadIdx.x) / kWarpSize * share;
  const int last = min(first + share, pixels.bottom);
  if (first >= last) return;
  const uint32_t origin = uint32_t(column) * uint32_t(pixels.height);
  bool inside = first > pixels.top && pixels(column, first - 1);
  for (int row = first; row < last; ++row) {
    const bool one = pixels(column, row);
    if (one != inside) visit(origin + uint32_t(row));
    inside = one;
  }
  if (inside && last == pixels.bottom) visit(origin + uint32_t(last));
}

// Reads the pixels of a stripe; writes its number of boundaries, and for each thread how many come before its
// own.
template <class Pixels>
__device__ void count_stripe(const Pixels& pixels, const MaskBoundaries& output, int64_t mask,
                             int64_t stripe) {
  __shared__ uint32_t counts[kWarps][kWarpSize];
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  uint32_t count = 0;
  visit_boundaries(pixels, int(stripe) * kWarpSize + lane, [&](uint32_t) { ++count; });
  counts[warp][lane] = count;
  __syncthreads();
  uint32_t before = 0, column = 0;
  for (int i = 0; i < kWarps; ++i) {
    if (i < warp) before += counts[i][lane];
    column += counts[i][lane];
  }
  uint32_t sum = column;  // of the columns up to this one
  for (int distance = 1; distance < kWarpSize; distance *= 2) {
    const uint32_t other = __shfl_up_sync(kWholeWarp, sum, distance);
    if (lane >= distance) sum += other;
  }
  const int64_t block = mask * output.stripes + stripe;
  output.ranks[block * kStripeThreads + threadIdx.x] = sum - column + before;
  if (threadIdx.x == kWarpSize - 1) output.stripe_counts[block] = sum;
}

// Reads the pixels of a stripe and what count_stripe wrote; writes the stripe's boundaries, which are one
// contiguous piece, through shared memory, so that neighbouring threads write neighbouring ones.
template <class Pixels>
__device__ void store_stripe(const Pixels& pixels, const MaskBoundaries& output, int64_t mask,
                             int64_t stripe) {
  constexpr uint32_t kAtOnce = 1024;
  // A word of padding after every 32: neighbouring columns of a shape have as many boundaries, so that their
  // ranks would fall into few banks.
  __shared__ uint32_t found[kAtOnce + kAtOnce / kWarpSize];
  const auto padded = [](uint32_t place) { return place + place / kWarpSize; };
  const int lane = threadIdx.x % kWarpSize;
  const uint32_t* counts = output.stripe_counts + mask * output.stripes;
  uint32_t before = 0;
  for (int64_t i = lane; i < stripe; i += kWarpSize) before += counts[i];
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    before += __shfl_xor_sync(kWholeWarp, before, distance);
  const uint32_t count = counts[stripe];
  if (stripe == output.stripes - 1 && threadIdx.x == 0) output.counts[mask] = before + count;

  const uint32_t first_rank = output.ranks[(mask * output.stripes + stripe) * kStripeThreads + threadIdx.x];
  uint32_t* boundaries = output.boundaries + mask * output.capacity;
  for (uint32_t start = 0; start < count; start += kAtOnce) {
    uint32_t rank = first_rank - start;  // below the start it wraps to a large number
    visit_boundaries(pixels, int(stripe) * kWarpSize + lane, [&](uint32_t position) {
      if (rank < kAtOnce) found[padded(rank)] = position;
      ++rank;
    });
    __syncthreads();
    // Warps begin at whole sectors of 8 numbers, wherever this piece begins.
    const int skew = int(reinterpret_cast<uintptr_t>(boundaries + before + start) / sizeof(uint32_t) % 8);
    const int last = int(min(kAtOnce, count - start));
    for (int i = int(threadIdx.x) - skew; i < last; i += kStripeThreads) {
      const int64_t place = int64_t(before) + start + i;
      if (i >= 0 && place < output.capacity) boundaries[place] = found[padded(i)];
    }
    __syncthreads();
  }
}

}  // namespace pose2seg
