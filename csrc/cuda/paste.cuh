#pragma once

#include "core/paste.h"
#include "cuda/launch_list.cuh"

namespace pose2seg {

using TargetList = LaunchList<PasteTarget, 64>;

// Does the same as paste_probability at a point that has all four taps.
template <class T, class Coordinate>
__device__ Coordinate probability_inside(const PasteParams& params, const T* roi, Vector2<Coordinate> point) {
  const int column = int(floor(point.x)), row = int(floor(point.y)), width = int(params.roi_width);
  const auto index = static_cast<unsigned int>(row * width + column);
  const T *upper = roi + index, *lower = roi + (index + width);
  const Coordinate values[] = {Coordinate(upper[0]), Coordinate(upper[1]), Coordinate(lower[0]),
                               Coordinate(lower[1])};
  return fused_interpolate(point.x - Coordinate(column), point.y - Coordinate(row), values);
}

// Where the pixels between two, which are in the same row or column of the image, lie in the RoI. If both
// have all four taps, or lie beyond the same side, then so do those between them.
enum class Place { kOutside, kInside, kEdge };

template <class Coordinate>
__device__ Place place_between(const PasteParams& params, Vector2<Coordinate> one,
                               Vector2<Coordinate> other) {
  const auto width = Coordinate(int(params.roi_width)), height = Coordinate(int(params.roi_height));
  const Coordinate left = fmin(one.x, other.x), right = fmax(one.x, other.x);
  const Coordinate top = fmin(one.y, other.y), bottom = fmax(one.y, other.y);
  if (!(right > -1 && left < width && bottom > -1 && top < height)) return Place::kOutside;
  return left >= 0 && right < width - 1 && top >= 0 && bottom < height - 1 ? Place::kInside : Place::kEdge;
}

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
    const Affine<double> matrix = image_to_roi<T>(target);
    geometry.image_to_roi = affine_cast<accumulate_t<T>>(matrix);
    geometry.footprint =
        paste_footprint(matrix, params.roi_height, params.roi_width, target.height, target.width);
  }
  __syncthreads();
  return geometry;
}

}  // namespace pose2seg
