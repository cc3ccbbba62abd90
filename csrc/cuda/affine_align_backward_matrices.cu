#include "core/affine_align_backward.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/vector.cuh"

// The gradient of the matrices in two passes: a block per output row sums what its pixels say, then a warp
// per instance sums its rows and goes back through the inverse. Both are trees of a fixed shape, so the bits
// are the same on every run. Reads the four taps and the gradient of every output pixel and channel once;
// between the passes go 32 bytes a row.

namespace pose2seg {
namespace {

using Params = AffineAlignBackwardMatricesParams;

constexpr int kWarps = 8;

__device__ double sum_of_warp(double value) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

// The sums of all threads of the block, valid in its first warp.
__device__ RowGradient sum_of_block(RowGradient mine, int lane, int warp) {
  __shared__ RowGradient warps[kWarps];
  mine = {sum_of_warp(mine.x), sum_of_warp(mine.x_column), sum_of_warp(mine.y), sum_of_warp(mine.y_column)};
  if (lane == 0) warps[warp] = mine;
  __syncthreads();
  RowGradient sum = {};
  for (int i = 0; i < kWarps; ++i) {
    sum.x += warps[i].x;
    sum.x_column += warps[i].x_column;
    sum.y += warps[i].y;
    sum.y_column += warps[i].y_column;
  }
  return sum;
}

// Where in a row a thread begins, and by how much it goes on: lanes along the channels where they lie next
// to each other, a vector each, else along the columns; the warps along the other.
template <class Index>
struct Stride {
  Index channel, column, channel_step, column_step;
};

template <class Index>
__device__ Stride<Index> stride_of_thread(bool channels_last, int lane, int warp, int vector) {
  if (channels_last) return {lane * vector, warp, kWarpSize * vector, kWarps};
  return {warp, lane, kWarps, kWarpSize};
}

// The gradient of a point by the slopes of kVector channels; `input` is where its upper left tap would be.
template <class T, class Index, int kVector>
__device__ Gradient<accumulate_t<T>> gradient_of_vector(const T* input, const T* grad,
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
  Gradient<Compute> sum = {};
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const auto slope = taps.gradient(Compute(upper_left.of[i]), Compute(upper_right.of[i]),
                                     Compute(lower_left.of[i]), Compute(lower_right.of[i]));
    sum.x += Compute(by.of[i]) * slope.x;
    sum.y += Compute(by.of[i]) * slope.y;
  }
  return sum;
}

template <class T, class Index, int kVector>
__device__ RowGradient gradient_of_thread(const Params& p, const Affine<accumulate_t<T>>& to_input,
                                          Index instance, Index image, Index row,
                                          const Stride<Index>& stride) {
  using Compute = accumulate_t<T>;
  const T* input = static_cast<const T*>(p.input) + image * Index(p.input_strides[0]);
  const T* grad =
      static_cast<const T*>(p.grad) + (instance * Index(p.grad_strides[0]) + row * Index(p.grad_strides[2]));
  const Index plane = Index(p.input_strides[1]), right = Index(p.input_strides[3]),
              lower = Index(p.input_strides[2]), grad_plane = Index(p.grad_strides[1]);
  RowGradient sum = {};
  for (Index column = stride.column; column < p.out_width; column += stride.column_step) {
    const Compute x = to_input.x(Compute(column), Compute(row)),
                  y = to_input.y(Compute(column), Compute(row));
    const auto taps = bilinear_taps(x, y, Index(p.height), Index(p.width));
    if (!taps.any()) continue;
    const T* upper_left = input + (taps.y * lower + taps.x * right);
    const T* by = grad + column * Index(p.grad_strides[3]);
    Gradient<Compute> pixel = {};
    for (Index channel = stride.channel; channel < p.channels; channel += stride.channel_step) {
      const auto some = gradient_of_vector<T, Index, kVector>(upper_left + channel * plane,
                                                              by + channel * grad_plane, taps, right, lower);
      pixel.x += some.x;
      pixel.y += some.y;
    }
    sum.x += pixel.x;
    sum.x_column += double(column) * pixel.x;
    sum.y += pixel.y;
    sum.y_column += double(column) * pixel.y;
  }
  return sum;
}

// kVector: channels that are loaded at once, which then lie next to each other in both tensors.
template <class T, class Index, int kVector>
__global__ void __launch_bounds__(kWarpSize* kWarps, 2) sum_rows(const Params p) {
  const int lane = int(threadIdx.x), warp = int(threadIdx.y);
  const auto rows = static_cast<unsigned int>(p.out_height);  // no more than blocks: division in 32 bits
  const Index instance = Index(blockIdx.x / rows), row = Index(blockIdx.x % rows);
  const int64_t image = p.batch_index[instance];
  __shared__ Affine<accumulate_t<T>> to_input;
  if (lane == 0 && warp == 0) to_input = p.to_input<accumulate_t<T>>(instance);
  __syncthreads();
  RowGradient sum = {};
  if (image >= 0 && image < p.batch)
    sum = gradient_of_thread<T, Index, kVector>(
        p, to_input, instance, Index(image), row,
        stride_of_thread<Index>(p.input_strides[1] == 1, lane, warp, kVector));
  sum = sum_of_block(sum, lane, warp);
  if (lane == 0 && warp == 0) p.rows[blockIdx.x] = sum;
}

// A warp per instance, lanes along the rows.
template <class T>
__global__ void __launch_bounds__(kWarpSize) sum_instances(const Params p) {
  const int64_t instance = blockIdx.x;
  Affine<double> sum = {};
  for (int64_t row = threadIdx.x; row < p.out_height; row += kWarpSize)
    sum = sum + transform_gradient(p.rows[instance * p.out_height + row], row);
  sum = {sum_of_warp(sum.a), sum_of_warp(sum.b), sum_of_warp(sum.c),
         sum_of_warp(sum.d), sum_of_warp(sum.e), sum_of_warp(sum.f)};
  if (threadIdx.x == 0) store_matrix_gradient<T>(p, instance, sum);
}

template <class T, class Index>
void launch_sum_rows(const Params& p, cudaStream_t stream) {
  constexpr int kVector = kVectorBytes / sizeof(T);
  const bool whole_vectors = has_whole_vectors(p.input, p.channels, p.input_strides, kVector) &&
                             has_whole_vectors(p.grad, p.channels, p.grad_strides, kVector);
  const auto kernel = whole_vectors ? sum_rows<T, Index, kVector> : sum_rows<T, Index, 1>;
  const int64_t rows = p.instances * p.out_height;
  launch(kernel, dim3(blocks_for(rows, 1)), dim3(kWarpSize, kWarps), stream, p);
}

}  // namespace

void affine_align_backward_matrices_cuda(const AffineAlignBackwardMatricesParams& params,
                                         cudaStream_t stream) {
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    dispatch_index(params.offsets_fit_int32(params.input_strides),
                   [&](auto index) { launch_sum_rows<T, decltype(index)>(params, stream); });
    launch(sum_instances<accumulate_t<T>>, dim3(blocks_for(params.instances, 1)), dim3(kWarpSize), stream,
           params);
  });
}

}  // namespace pose2seg
