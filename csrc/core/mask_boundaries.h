#pragma once

#include <cstdint>
#include <string>

#include "core/host_device.h"

namespace pose2seg {

constexpr int64_t kStripeWidth = 32;
constexpr int64_t kStripeThreads = 256;

// The positions at which the runs of masks begin and end. Each column is processed independently: a boundary
// is the column-major position x * height + y of a pixel that starts a run of ones in its column, or that
// follows one. Pixels above and below a column count as 0, so boundaries come in pairs and no column depends
// on its neighbours.
struct MaskBoundaries {
  int64_t masks;

  // CPU: the COCO characters of each mask, into which the kernels encode the boundaries at once.
  std::string* encoded;  // (masks,)

  // CUDA: the number of boundaries is data-dependent, so the buffer has room for a fixed number per column of
  // a stripe. The boundaries of a mask are stored in ascending order, starting at the place of its first
  // stripe.
  uint32_t* counts;      // (masks,): the number of boundaries of each mask, including those that did not fit
  uint32_t* boundaries;  // (stripes of all masks, kStripeWidth * per_column)
  int64_t per_column;

  // Scratch memory of the CUDA kernels, which process all stripes in parallel.
  uint32_t* stripe_counts;  // (stripes of all masks,)
  uint32_t* ranks;          // (stripes of all masks, kStripeThreads)
};

// The stripes of kStripeWidth columns that belong to one mask, among those of all masks.
struct MaskStripes {
  int64_t first, count;
};

// Returns the number of stripes: at least one, which stores the number of boundaries. A mask of height 0 has
// no columns to process.
HOST_DEVICE int64_t stripe_count(int64_t height, int64_t width) {
  return height > 0 && width > 0 ? (width - 1) / kStripeWidth + 1 : 1;
}

}  // namespace pose2seg
