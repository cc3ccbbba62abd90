#include <algorithm>
#include <type_traits>

#include "core/paste_rle.h"
#include "cuda/boundaries.cuh"
#include "cuda/dispatch.cuh"
#include "cuda/paste.cuh"

// Samples the pixels of every footprint twice, once to count and once to store boundaries, since storing the
// masks in between would need more memory than everything else. Must move: the probabilities, read once, and
// 4 bytes per boundary. Does move: four taps per pixel of the footprint, twice, which caches serve, since an
// RoI is a few KiB; the boundaries once; and 1 KiB of scratch memory per stripe of 32 columns, written and
// read.

namespace pose2seg {
namespace {

template <class T>
struct PastedPixels {
  using Coordinate = accumulate_t<T>;

  const PasteParams& params;
  const PasteGeometry<Coordinate>& geometry;
  const T* roi;
  int height, top, bottom;

  __device__ bool covers(int column) const {
    return column >= geometry.footprint.left && column < geometry.footprint.right;
  }

  __device__ Vector2<Coordinate> point(int column, int row) const {
    return RowInRoi(geometry.image_to_roi, Coordinate(row)).at(Coordinate(column));
  }

  __device__ uint32_t ones(int column, int row, int count) const {
    constexpr int kAtOnce = sizeof(Coordinate) == sizeof(float) ? 8 : 2;  // more doubles would spill
    const auto threshold = Coordinate(params.threshold);
    Place place = Place::kOutside;
    if (count > 0) place = place_between(params, point(column, row), point(column, row + kWarpSize - 1));
    // The warp takes one of the two ways for all of its lanes; a few pixels do not need the first.
    const bool edge = place == Place::kEdge || (place == Place::kInside && count < kWarpSize / 2);
    const bool inside = __ballot_sync(kAllLanes, edge) == 0;
    uint32_t bits = 0;
    if (place == Place::kOutside) return bits;
    if (inside) {
#pragma unroll kAtOnce
      for (int i = 0; i < kWarpSize; ++i)
        if (probability_inside(params, roi, point(column, row + i)) > threshold) bits |= 1u << i;
      return bits & kAllLanes >> (kWarpSize - count);
    }
    for (int i = 0; i < count; ++i)
      if (paste_probability(params, roi, point(column, row + i)) > threshold) bits |= 1u << i;
    return bits;
  }
};

template <class T>
__device__ PastedPixels<T> pasted_pixels(const PasteParams& params, const PasteTarget& target) {
  const auto& geometry = block_geometry<T>(params, target);
  return {params,
          geometry,
          static_cast<const T*>(target.roi),
          int(target.height),
          int(geometry.footprint.top),
          int(geometry.footprint.bottom)};
}

HOST_DEVICE MaskStripes stripes_of(const PasteTarget& target) {
  return {target.first_stripe, stripe_count(target.height, target.width)};
}

template <class T>
__global__ void __launch_bounds__(kStripeThreads)
    count_pasted_boundaries(const PasteRleParams p, const TargetList list) {
  const PasteTarget& target = list.items[blockIdx.y];
  const MaskStripes stripes = stripes_of(target);
  if (blockIdx.x >= stripes.count) return;
  count_stripe(pasted_pixels<T>(p, target), p.output, stripes, blockIdx.x);
}

// Asks for as many resident blocks as need no spills on any GPU.
template <class T>
__global__ void __launch_bounds__(kStripeThreads, std::is_same_v<T, double> ? 3 : 4)
    store_pasted_boundaries(const PasteRleParams p, const TargetList list, int64_t first) {
  const PasteTarget& target = list.items[blockIdx.y];
  const MaskStripes stripes = stripes_of(target);
  if (blockIdx.x >= stripes.count) return;
  store_stripe(pasted_pixels<T>(p, target), p.output, stripes, first + blockIdx.y, blockIdx.x);
}

}  // namespace

void paste_rle_cuda(const PasteRleParams& params, cudaStream_t stream) {
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    TargetList::for_each(params.targets, params.target_count,
                         [&](const TargetList& list, int64_t first, int64_t count) {
                           int64_t most = 0;
                           for (int64_t i = 0; i < count; ++i)
                             most = std::max(most, stripes_of(list.items[i]).count);
                           const dim3 grid(blocks_for(most, 1), static_cast<unsigned int>(count));
                           const dim3 block(kStripeThreads);
                           launch(count_pasted_boundaries<T>, grid, block, stream, params, list);
                           launch(store_pasted_boundaries<T>, grid, block, stream, params, list, first);
                         });
  });
}

}  // namespace pose2seg
