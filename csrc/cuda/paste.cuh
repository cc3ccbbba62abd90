#pragma once

#include "core/paste.h"
#include "cuda/launch_list.cuh"

namespace pose2seg {

using TargetList = LaunchList<PasteTarget, 64>;

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
