#include "core/affine_align_backward.h"
#include "core/sample_windows.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_shape.cuh"

// Computes the gradient of the matrices in two passes, as affine_align_backward_matrices.cu does: one block
// for each tile of 16 x 4 output pixels, then one warp for each instance. Both add in a fixed order.

namespace pose2seg {
namespace {

using Params = SampleWindowsBackwardMatricesParams;
using Tile = TileShape<kGradientTileColumns, kGradientTileRows, 8>;

constexpr int kWarps = 8;

__device__ double sum_of_warp(double value) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

__device__ Projective<double> sum_of_warp(const Projective<double>& m) {
  return {sum_of_warp(m.a), sum_of_warp(m.b), sum_of_warp(m.c), sum_of_warp(m.d), sum_of_warp(m.e),
          sum_of_warp(m.f), sum_of_warp(m.g), sum_of_warp(m.h), sum_of_warp(m.i)};
}

// Adds the gradient of a pixel in every `step`-th channel.
template <class T, int kTaps>
__device__ void add_pixel(const Params& p, const WindowSampler<accumulate_t<T>>& sampler, int64_t instance,
                          int64_t column, int64_t row, int64_t first, int64_t step, Projective<double>& sum) {
  using Compute = accumulate_t<T>;
  const T* image = static_cast<const T*>(p.input) + p.batch_index[instance] * p.input_strides[0];
  const T* grad = static_cast<const T*>(p.grad) + instance * p.output_strides[0] + row * p.output_strides[2] +
                  column * p.output_strides[3];
  const Compute fill = Compute(p.sampling.fill);
  sampler.visit(column, row, [&](const auto& at) {
    Compute along_x = 0, along_y = 0;
    sampler.template visit_slopes<kTaps>(at, [&](int64_t x, int64_t y, Compute by_x, Compute by_y) {
      const T* from = image + y * p.input_strides[2] + x * p.input_strides[3];
      Compute product = 0;
      for (int64_t c = first; c < p.channels; c += step)
        product += Compute(grad[c * p.output_strides[1]]) * (Compute(from[c * p.input_strides[1]]) - fill);
      along_x += by_x * product;
      along_y += by_y * product;
    });
    add_position_gradient<Compute>(at, along_x, along_y, sum);
  });
}

template <class T, int kTaps>
__global__ void __launch_bounds__(kWarpSize* kWarps, 1) sum_sampled_tiles(const Params p) {
  using Compute = accumulate_t<T>;
  __shared__ WindowSampler<Compute> sampler;
  __shared__ Projective<double> warps[kWarps];
  const int lane = int(threadIdx.x), warp = int(threadIdx.y);
  const int64_t across = (p.out_width - 1) / Tile::kColumns + 1, down = (p.out_height - 1) / Tile::kRows + 1,
                left = blockIdx.x % across * Tile::kColumns, top = blockIdx.x / across % down * Tile::kRows,
                instance = blockIdx.x / across / down;
  if (lane == 0 && warp == 0) sampler = window_sampler<Compute>(p, instance);
  __syncthreads();
  // If channels are adjacent in memory, the lanes are channels and the warps pixels; otherwise each thread
  // adds every fourth channel of one pixel.
  constexpr int kTileWarps = Tile::kPixels / kWarpSize;
  const bool channels_last = p.input_strides[1] == 1;
  const int first_pixel = channels_last ? warp : warp % kTileWarps * kWarpSize + lane,
            pixel_step = channels_last ? kWarps : int(Tile::kPixels);
  const int64_t channel = channels_last ? lane : warp / kTileWarps,
                channel_step = channels_last ? kWarpSize : kWarps / kTileWarps;
  Projective<double> sum = {};
  for (int i = first_pixel; i < int(Tile::kPixels) && !sampler.samples_nothing; i += pixel_step) {
    const int64_t column = left + Tile::column(i), row = top + Tile::row(i);
    if (column < p.out_width && row < p.out_height)
      add_pixel<T, kTaps>(p, sampler, instance, column, row, channel, channel_step, sum);
  }
  sum = sum_of_warp(sum);
  if (lane == 0) warps[warp] = sum;
  __syncthreads();
  if (lane > 0 || warp > 0) return;
  Projective<double> tile = {};
  for (const auto& part : warps) tile = tile + part;
  p.parts[blockIdx.x] = tile;
}

template <class T>
__global__ void __launch_bounds__(kWarpSize) sum_sampled_instances(const Params p, int64_t tiles) {
  const int64_t instance = blockIdx.x;
  Projective<double> sum = {};
  for (int64_t tile = threadIdx.x; tile < tiles; tile += kWarpSize)
    sum = sum + p.parts[instance * tiles + tile];
  sum = sum_of_warp(sum);
  if (threadIdx.x == 0) store_matrix_gradient<T>(p, instance, sum);
}

}  // namespace

void sample_windows_backward_matrices_cuda(const Params& p, cudaStream_t stream) {
  const int64_t tiles = gradient_tiles(p.out_height, p.out_width);
  dispatch_cuda_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    dispatch_taps(p.sampling.interpolation, [&](auto taps) {
      launch(sum_sampled_tiles<T, taps>, dim3(blocks_for(p.instances * tiles, 1)), dim3(kWarpSize, kWarps),
             stream, p);
    });
    launch(sum_sampled_instances<accumulate_t<T>>, dim3(blocks_for(p.instances, 1)), dim3(kWarpSize), stream,
           p, tiles);
  });
}

}  // namespace pose2seg
