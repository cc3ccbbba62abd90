#include "core/affine_align_backward.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_shape.cuh"
#include "cuda/vector.cuh"

// The gradient of the matrices in two passes: a block per tile of 16 x 4 output pixels sums what they say,
// then a warp per instance sums its tiles and goes back through the inverse. Both are trees of a fixed shape,
// so the bits are the same on every run. Must move: the input under the windows and the gradient of the
// output, read once. Does move: the gradient once, the four taps of every pixel and channel, of which caches
// serve most, and 48 bytes a tile between the passes. A tile's sums are those of the data's accumulation
// type, all others double.

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

// The pixels of the tile and the channels that a thread visits. Where channels lie next to each other: lanes
// along them, a vector each, the warps along the pixels. Else a pixel a thread, which as 8 x 4 a warp lie
// close together however the window is turned, and every fourth channel.
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

// The gradient of a point by the slopes of kVector channels; `input` is where its upper left tap would be.
template <class T, class Index, int kVector>
__device__ Vector2<accumulate_t<T>> gradient_of_vector(const T* input, const T* grad,
                                                       const BilinearTaps<accumulate_t<T>, Index>& taps,
                                                       Index right, Index lower) {
  using Compute = accumulate_t<T>;
  using Channels = Vector<T, kVector>;
  const auto load = [&](bool present, Index offset) {
    return present ? *reinterpret_cast<const Channels*>(input + offset) : Channels{};
  };
  const Channels by = *reinterpret_cast<const Channels*>(grad);
  const Channels upper_left = load(taps.has_upper && taps.has_left, 0),
                 upper_right = load(taps.has_upper && taps.has_right, right),
                 lower_left = load(taps.has_lower && taps.has_left, lower),
                 lower_right = load(taps.has_lower && taps.has_right, lower + right);
  Vector2<Compute> sum = {};
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const auto slope = taps.gradient(Compute(upper_left.of[i]), Compute(upper_right.of[i]),
                                     Compute(lower_left.of[i]), Compute(lower_right.of[i]));
    sum += {Compute(by.of[i]) * slope.x, Compute(by.of[i]) * slope.y};
  }
  return sum;
}

// What all pixels of a block have in common. The tile's first pixel is (column, row).
template <class T, class Index>
struct Origin {
  Affine<accumulate_t<T>> to_input;
  const T *input, *grad;  // the image, and the first gradient of the instance
  Index column, row;
};

// The thread's share of the gradient of the sampling transform, with the tile's first pixel as (0, 0).
template <class T, class Index, int kVector>
__device__ Affine<accumulate_t<T>> gradient_of_thread(const Params& p, const Origin<T, Index>& origin,
                                                      const Share<Index>& share) {
  using Compute = accumulate_t<T>;
  const Index plane = Index(p.input_strides[1]), right = Index(p.input_strides[3]),
              lower = Index(p.input_strides[2]), grad_plane = Index(p.grad_strides[1]);
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
    const T* by = origin.grad + (row * Index(p.grad_strides[2]) + column * Index(p.grad_strides[3]));
    Vector2<Compute> pixel = {};
    for (Index channel = share.channel; channel < p.channels; channel += share.channel_step)
      pixel += gradient_of_vector<T, Index, kVector>(upper_left + channel * plane, by + channel * grad_plane,
                                                     taps, right, lower);
    const auto c = Compute(in_column), r = Compute(in_row);
    sum = sum + Affine<Compute>{c * pixel.x, r * pixel.x, pixel.x, c * pixel.y, r * pixel.y, pixel.y};
  }
  return sum;
}

// kVector: channels that are loaded at once, which then lie next to each other in both tensors.
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
  if (lane == 0 && warp == 0) to_input = p.to_input<Compute>(instance);
  __syncthreads();
  const int64_t image = p.batch_index[instance];
  Affine<Compute> sum = {};
  if (image >= 0 && image < p.batch) {
    const T* input = static_cast<const T*>(p.input) + Index(image) * Index(p.input_strides[0]);
    const T* grad = static_cast<const T*>(p.grad) + instance * Index(p.grad_strides[0]);
    sum = gradient_of_thread<T, Index, kVector>(
        p, {to_input, input, grad, column, row},
        share_of_thread<Index>(p.input_strides[1] == 1, lane, warp, kVector));
  }
  sum = sum_of_warp(sum);
  if (lane == 0) warps[warp] = sum;
  __syncthreads();
  if (lane > 0 || warp > 0) return;
  Affine<double> tile = {};
#pragma unroll 1  // for fewer registers
  for (const auto& part : warps) tile = tile + affine_cast<double>(part);
  tile.a += double(column) * tile.c;
  tile.b += double(row) * tile.c;
  tile.d += double(column) * tile.f;
  tile.e += double(row) * tile.f;
  p.parts[blockIdx.x] = tile;
}

// A warp per instance, lanes along the tiles.
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
                             has_whole_vectors(p.grad, p.channels, p.grad_strides, kVector);
  const auto kernel = whole_vectors ? sum_tiles<T, Index, kVector> : sum_tiles<T, Index, 1>;
  launch(kernel, dim3(blocks_for(p.instances * tiles, 1)), dim3(kWarpSize, kWarps), stream, p);
}

}  // namespace

void affine_align_backward_matrices_cuda(const AffineAlignBackwardMatricesParams& params,
                                         cudaStream_t stream) {
  const int64_t tiles = gradient_tiles(params.out_height, params.out_width);
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    dispatch_index(params.offsets_fit_int32(params.input_strides),
                   [&](auto index) { launch_sum_tiles<T, decltype(index)>(params, tiles, stream); });
    launch(sum_instances<accumulate_t<T>>, dim3(blocks_for(params.instances, 1)), dim3(kWarpSize), stream,
           params, tiles);
  });
}

}  // namespace pose2seg
