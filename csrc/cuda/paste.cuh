#pragma once

#include <algorithm>

#include "core/paste.h"

namespace pose2seg {

// Where the masks go is known on the host and travels with the launch, so that nothing waits for a copy.
constexpr int64_t kTargetsPerLaunch = 64;

struct TargetList {
  PasteTarget targets[kTargetsPerLaunch];
};

// Calls body(list, first, count) for up to kTargetsPerLaunch targets at a time.
template <class Body>
void for_each_list(const PasteParams& params, const Body& body) {
  for (int64_t first = 0; first < params.target_count; first += kTargetsPerLaunch) {
    const int64_t count = std::min(kTargetsPerLaunch, params.target_count - first);
    TargetList list = {};
    std::copy_n(params.targets + first, count, list.targets);
    body(list, first, count);
  }
}

// What the pixels of one person have in common.
template <class Coordinate>
struct PasteGeometry {
  Affine<Coordinate> image_to_roi;
  Footprint footprint;
};

// Worked out by one thread for its block, all of which must call.
template <class T>
__device__ const PasteGeometry<accumulate_t<T>>& block_geometry(const PasteParams& params,
                                                                const PasteTarget& target) {
  __shared__ PasteGeometry<accumulate_t<T>> geometry;
  if (threadIdx.x == 0) {
    const Affine<double> matrix = image_to_roi<T>(params, target.instance);
    geometry.image_to_roi = affine_cast<accumulate_t<T>>(matrix);
    geometry.footprint =
        paste_footprint(matrix, params.roi_height, params.roi_width, target.height, target.width);
  }
  __syncthreads();
  return geometry;
}

}  // namespace pose2seg
