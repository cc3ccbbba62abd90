#include <algorithm>

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
  __device__ bool operator()(int column, int row) const {
    return paste_pixel<bool>(params, roi, geometry.image_to_roi, column, row);
  }
};

template <class T>
__device__ PastedPixels<T> pasted_pixels(const PasteParams& params, const PasteTarget& target) {
  const auto& geometry = block_geometry<T>(params, target);
  return {params,
          geometry,
          roi_pixels<T>(params, target.instance),
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

template <class T>
__global__ void __launch_bounds__(kStripeThreads)
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
