#pragma once

#include "core/paste.h"
#include "cuda/launch_list.cuh"

namespace pose2seg {

using TargetList = LaunchList<PasteTarget, 64>;

// Values that all pixels of one instance share.
template <class Coordinate>
struct PasteGeometry {
  Affine<Coordinate> image_to_roi;
  Footprint footprint;
};

// Computed by one thread for its block; all threads of the block must call it.
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
