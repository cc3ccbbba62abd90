#include "core/encode_rle.h"
#include "cuda/boundaries.cuh"

// Must move: every mask, read once, and 4 bytes per boundary. Does move: every mask twice, 32 neighbouring
// bytes per warp at a time, and 8 of its rows once more; the boundaries once; and 1 KiB of scratch memory per
// stripe of 32 columns, written and read.

namespace pose2seg {
namespace {

struct MaskPixels {
  const uint8_t* mask;
  int64_t row_stride;
  int width, height, top, bottom;

  __device__ bool covers(int column) const { return column < width; }
  __device__ uint32_t ones(int column, int row, int count) const {
    const uint8_t* pixel = mask + row * row_stride + column;
    uint32_t bits = 0;
#pragma unroll 8  // so that several loads are in flight
    for (int i = 0; i < count; ++i) bits |= uint32_t(pixel[i * row_stride] != 0) << i;
    return bits;
  }
};

__device__ inline MaskPixels mask_pixels(const EncodeRleParams& p, int64_t mask) {
  return {p.masks + mask * p.strides[0], p.strides[1], int(p.width), int(p.height), 0, int(p.height)};
}

__global__ void __launch_bounds__(kStripeThreads) count_mask_boundaries(const EncodeRleParams p) {
  const int64_t stripes = stripe_count(p.height, p.width);
  const int64_t mask = blockIdx.x / stripes, stripe = blockIdx.x % stripes;
  count_stripe(mask_pixels(p, mask), p.output, {mask * stripes, stripes}, stripe);
}

// Asks for four resident blocks, which fit on every GPU. By default the compiler aims at eight and spills.
__global__ void __launch_bounds__(kStripeThreads, 4) store_mask_boundaries(const EncodeRleParams p) {
  const int64_t stripes = stripe_count(p.height, p.width);
  const int64_t mask = blockIdx.x / stripes, stripe = blockIdx.x % stripes;
  store_stripe(mask_pixels(p, mask), p.output, {mask * stripes, stripes}, mask, stripe);
}

}  // namespace

void encode_rle_cuda(const EncodeRleParams& params, cudaStream_t stream) {
  const dim3 grid(blocks_for(params.output.masks * stripe_count(params.height, params.width), 1)),
      block(kStripeThreads);
  launch(count_mask_boundaries, grid, block, stream, params);
  launch(store_mask_boundaries, grid, block, stream, params);
}

}  // namespace pose2seg
