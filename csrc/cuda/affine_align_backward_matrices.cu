#include "core/affine_align_backward.h"
#include "core/bilinear.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_shape.cuh"
#include "cuda/vector.cuh"

// Computes the gradient of the matrices in two passes: one block per tile of 16 x 4 output pixels reduces the
// tile, then one warp per instance reduces its tiles and differentiates through the inverse. Both reductions
// are trees of a fixed shape, so the bits are the same on every run. Must move: the input under the windows
// and the output gradient, read once. Does move: the gradient once, the four taps of every pixel and channel,
// most of which caches serve, and 48 bytes per tile between the passes. The sums of a tile have the
// accumulation type of the data, all others are double.

namespace pose2seg {
namespace {

using Params = AffineAlignBackwardMatricesParams;
using Tile = TileShape<kGradientTileColumns, kGradientTileRows, 8>;

constexpr int kWarps = 8;

template <class T>
__device__ T sum_of_warp(T value) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

template <class T>
__device__ Affine<T> sum_of_warp(const Affine<T>& m) {
  return {sum_of_warp(m.a), sum_of_warp(m.b), sum_of_warp(m.c),
          sum_of_warp(m.d), sum_of_warp(m.e), sum_of_warp(m.f)};
}

// The pixels of the tile and the channels that a thread processes. If channels are adjacent in memory, the
// lanes are mapped to channels, one vector each, and the warps to pixels. Otherwise each thread processes
// every fourth channel of one pixel, and a warp covers 8 x 4 pixels, which stay close together for any
// rotation of the window.
template <class Index>
struct Share {
  int pixel, pixel_step;
  Index channel, channel_step;
};

template <class Index>
__device__ Share<Index> share_of_thread(bool channels_last, int lane, int warp, int vector) {
  constexpr int kTileWarps = Tile::kPixels / kWarpSize;
  if (channels_last) return {warp, kWarps, lane * vector, kWarpSize * vector};
  return {warp % kTileWarps * kWarpSize + lane, Tile::kPixels, warp / kTileWarps, kWarps / kTileWarps};
}

// The gradient of a sampling point, from the slopes of kVector channels; `input` is the address that its
// upper left tap would have.
template <class T, class Index, int kVector>
__device__ Vector2<accumulate_t<T>> gradient_of_vector(const T* input, const T* grad,
                                                       const BilinearTaps<accumulate_t<T>, Index>& taps,
                                                       Index right, Index lower) {
  using Compute = accumulate_t<T>;
  using Channels = Vector<T, kVector>;
  const auto load = [&](Tap tap, Index offset) {
    return taps.has(tap) ? *reinterpret_cast<const Channels*>(input + offset) : Channels{};
  };
  const Channels by = *reinterpret_cast<const Channels*>(grad);
  const Channels loaded[kTaps] = {load(kUpperLeft, 0), load(kUpperRight, right), load(kLowerLeft, lower),
                                  load(kLowerRight, lower + right)};
  Vector2<Compute> sum = {};
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    Compute values[kTaps];
    for (int tap = 0; tap < kTaps; ++tap) values[tap] = Compute(loaded[tap].of[i]);
    const auto slope = bilinear_slope(taps.right, taps.lower, values);
    sum += {Compute(by.of[i]) * slope.x, Compute(by.of[i]) * slope.y};
  }
  return sum;
}

// Values that all pixels of a block share. The first pixel of the tile is (column, row).
template <class T, class Index>
struct Origin {
  Affine<accumulate_t<T>> to_input;
  const T *input, *grad;  // at the image and at the first gradient of the instance
  Index column, row;
};

// The contribution of the thread to the gradient of the sampling transform, relative to the first pixel of
// the tile.
template <class T, class Index, int kVector>
__device__ Affine<accumulate_t<T>> gradient_of_thread(const Params& p, const Origin<T, Index>& origin,
                                                      const Share<Index>& share) {
  using Compute = accumulate_t<T>;
  const Index plane = Index(p.input_strides[1]), right = Index(p.input_strides[3]),
              lower = Index(p.input_strides[2]), grad_plane = Index(p.output_strides[1]);
  Affine<Compute> sum = {};
  for (int i = share.pixel; i < int(Tile::kPixels); i += share.pixel_step) {
    const int in_column = Tile::column(i), in_row = Tile::row(i);
    const Index column = origin.column + in_column, row = origin.row + in_row;
    if (column >= p.out_width || row >= p.out_height) continue;
    const Compute x = origin.to_input.x(Compute(column), Compute(row)),
                  y = origin.to_input.y(Compute(column), Compute(row));
    const auto taps = bilinear_taps(x, y, Index(p.height), Index(p.width));
    if (!taps.any()) continue;
    const T* upper_left = origin.input + (taps.y * lower + taps.x * right);
    const T* by = origin.grad + (row * Index(p.output_strides[2]) + column * Index(p.output_strides[3]));
    Vector2<Compute> pixel = {};
    for (Index channel = share.channel; channel < p.channels; channel += share.channel_step)
      pixel += gradient_of_vector<T, Index, kVector>(upper_left + channel * plane, by + channel * grad_plane,
                                                     taps, right, lower);
    const auto c = Compute(in_column), r = Compute(in_row);
    sum = sum + Affine<Compute>{c * pixel.x, r * pixel.x, pixel.x, c * pixel.y, r * pixel.y, pixel.y};
  }
  return sum;
}

// kVector is the number of channels that are loaded at once; if it is not 1, they are adjacent in both
// tensors.
template <class T, class Index, int kVector>
__global__ void __launch_bounds__(kWarpSize* kWarps, 2) sum_tiles(const Params p) {
  using Compute = accumulate_t<T>;
  __shared__ Affine<Compute> to_input, warps[kWarps];
  const int lane = int(threadIdx.x), warp = int(threadIdx.y);
  const unsigned int across = (p.out_width - 1) / Tile::kColumns + 1,
                     down = (p.out_height - 1) / Tile::kRows + 1;
  const Index column = Index(blockIdx.x % across * Tile::kColumns),
              row = Index(blockIdx.x / across % down * Tile::kRows),
              instance = Index(blockIdx.x / across / down);
  const int64_t image = p.batch_index[instance];  // loaded while the matrix is inverted
  if (lane == 0 && warp == 0) to_input = p.to_input<Compute>(instance);
  __syncthreads();
  Affine<Compute> sum = {};
  if (p.has_image(image)) {
    const T* input = static_cast<const T*>(p.input) + Index(image) * Index(p.input_strides[0]);
    const T* grad = static_cast<const T*>(p.grad) + instance * Index(p.output_strides[0]);
    sum = gradient_of_thread<T, Index, kVector>(
        p, {to_input, input, grad, column, row},
        share_of_thread<Index>(p.input_strides[1] == 1, lane, warp, kVector));
  }
  sum = sum_of_warp(sum);
  if (lane == 0) warps[warp] = sum;
  __syncthreads();
  if (lane > 0 || warp > 0) return;
  Affine<double> tile = {};
#pragma unroll 1  // reduces register usage
  for (const auto& part : warps) tile = tile + affine_cast<double>(part);
  tile.a += double(column) * tile.c;
  tile.b += double(row) * tile.c;
  tile.d += double(column) * tile.f;
  tile.e += double(row) * tile.f;
  p.parts[blockIdx.x] = tile;
}

// One warp per instance; the lanes are mapped to tiles.
template <class T>
__global__ void __launch_bounds__(kWarpSize) sum_instances(const Params p, int64_t tiles) {
  const int64_t instance = blockIdx.x;
  Affine<double> sum = {};
  for (int64_t tile = threadIdx.x; tile < tiles; tile += kWarpSize)
    sum = sum + p.parts[instance * tiles + tile];
  sum = sum_of_warp(sum);
  if (threadIdx.x == 0) store_matrix_gradient<T>(p, instance, sum);
}

template <class T, class Index>
void launch_sum_tiles(const Params& p, int64_t tiles, cudaStream_t stream) {
  constexpr int kVector = kVectorBytes / sizeof(T);
  const bool whole_vectors = has_whole_vectors(p.input, p.channels, p.input_strides, kVector) &&
                             has_whole_vectors(p.grad, p.channels, p.output_strides, kVector);
  const auto kernel = whole_vectors ? sum_tiles<T, Index, kVector> : sum_tiles<T, Index, 1>;
  launch(kernel, dim3(blocks_for(p.instances * tiles, 1)), dim3(kWarpSize, kWarps), stream, p);
}

}  // namespace

void affine_align_backward_matrices_cuda(const AffineAlignBackwardMatricesParams& params,
                                         cudaStream_t stream) {
  const int64_t tiles = gradient_tiles(params.out_height, params.out_width);
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    dispatch_index(params.offsets_fit_int32(),
                   [&](auto index) { launch_sum_tiles<T, decltype(index)>(params, tiles, stream); });
    launch(sum_instances<accumulate_t<T>>, dim3(blocks_for(params.instances, 1)), dim3(kWarpSize), stream,
           params, tiles);
  });
}

}  // namespace pose2seg
