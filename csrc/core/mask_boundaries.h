#pragma once

#include <cstdint>

namespace pose2seg {

// Where the runs of masks begin and end: the columns are walked each for itself, and a boundary is the
// column-major position x * height + y of a pixel that begins a run of ones in its column, or follows one.
// What lies above and below a column counts 0, so that boundaries come in pairs and no column has to know
// its neighbours.
struct MaskBoundaries {
  uint32_t* counts;      // (masks,): how many each mask has, also of those that did not fit
  uint32_t* boundaries;  // (masks, capacity), each mask's in ascending order
  int64_t capacity;
  int64_t masks, stripes;  // stripes of kStripeWidth columns that the widest mask has

  // Scratch of the CUDA kernels, which find the boundaries of every stripe in parallel.
  uint32_t* stripe_counts;  // (masks, stripes)
  uint32_t* ranks;          // (masks, stripes, kStripeThreads)
};

constexpr int64_t kStripeWidth = 32;
constexpr int64_t kStripeThreads = 256;

}  // namespace pose2seg
