#include "core/paste_rle.h"
#include "cuda/boundaries.cuh"
#include "cuda/dispatch.cuh"
#include "cuda/paste.cuh"

// Samples the pixels of every footprint twice, once to count and once to store boundaries, since keeping the
// masks in between would cost more memory than all else. Must move: the probabilities, read once, and 4 bytes
// a boundary. Does move: four taps a pixel of the footprint, twice, which caches serve, for an RoI is a few
// KiB; the boundaries once; and 1 KiB of scratch per stripe of 32 columns, written and read.

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
    return paste_pixel(params, roi, geometry.image_to_roi, column, row);
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

template <class T>
__global__ void __launch_bounds__(kStripeThreads)
    count_pasted_boundaries(const PasteRleParams p, const TargetList list, int64_t first) {
  count_stripe(pasted_pixels<T>(p, list.items[blockIdx.y]), p.output, first + blockIdx.y, blockIdx.x);
}

template <class T>
__global__ void __launch_bounds__(kStripeThreads)
    store_pasted_boundaries(const PasteRleParams p, const TargetList list, int64_t first) {
  store_stripe(pasted_pixels<T>(p, list.items[blockIdx.y]), p.output, first + blockIdx.y, blockIdx.x);
}

}  // namespace

void paste_rle_cuda(const PasteRleParams& params, cudaStream_t stream) {
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    TargetList::for_each(
        params.targets, params.target_count, [&](const TargetList& list, int64_t first, int64_t count) {
          const dim3 grid(blocks_for(params.output.stripes, 1), static_cast<unsigned int>(count));
          const dim3 block(kStripeThreads);
          launch(count_pasted_boundaries<T>, grid, block, stream, params, list, first);
          launch(store_pasted_boundaries<T>, grid, block, stream, params, list, first);
        });
  });
}

}  // namespace pose2seg
