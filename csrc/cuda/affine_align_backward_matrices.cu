#include "core/affine_align_backward.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

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
// to each other, else along the columns; the warps along the other.
struct Stride {
  int64_t channel, column, channel_step, column_step;
};

__device__ Stride stride_of_thread(bool channels_last, int lane, int warp) {
  if (channels_last) return {lane, warp, kWarpSize, kWarps};
  return {warp, lane, kWarps, kWarpSize};
}

template <class T>
__device__ RowGradient gradient_of_thread(const Params& p, const Affine<accumulate_t<T>>& to_input,
                                          int64_t instance, int64_t image, int64_t row,
                                          const Stride& stride) {
  using Compute = accumulate_t<T>;
  const T* input = static_cast<const T*>(p.input) + image * p.input_strides[0];
  const T* grad = static_cast<const T*>(p.grad) + instance * p.grad_strides[0] + row * p.grad_strides[2];
  RowGradient sum = {};
  for (int64_t column = stride.column; column < p.out_width; column += stride.column_step) {
    const Compute x = to_input.x(Compute(column), Compute(row)),
                  y = to_input.y(Compute(column), Compute(row));
    const auto taps = bilinear_taps(x, y, p.height, p.width);
    if (!taps.any()) continue;
    Gradient<Compute> pixel = {};
    for (int64_t channel = stride.channel; channel < p.channels; channel += stride.channel_step) {
      const T* plane = input + channel * p.input_strides[1];
      const auto slope = taps.gradient([&](int64_t tap_x, int64_t tap_y) {
        return Compute(plane[tap_y * p.input_strides[2] + tap_x * p.input_strides[3]]);
      });
      const auto by = Compute(grad[channel * p.grad_strides[1] + column * p.grad_strides[3]]);
      pixel.x += by * slope.x;
      pixel.y += by * slope.y;
    }
    sum.x += pixel.x;
    sum.x_column += double(column) * pixel.x;
    sum.y += pixel.y;
    sum.y_column += double(column) * pixel.y;
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kWarpSize* kWarps, 2) sum_rows(const Params p) {
  const int lane = int(threadIdx.x), warp = int(threadIdx.y);
  const auto rows = static_cast<unsigned int>(p.out_height);  // no more than blocks: division in 32 bits
  const int64_t instance = blockIdx.x / rows, row = blockIdx.x % rows;
  const int64_t image = p.batch_index[instance];
  __shared__ Affine<accumulate_t<T>> to_input;
  if (lane == 0 && warp == 0) to_input = p.to_input<accumulate_t<T>>(instance);
  __syncthreads();
  RowGradient sum = {};
  if (image >= 0 && image < p.batch)
    sum = gradient_of_thread<T>(p, to_input, instance, image, row,
                                stride_of_thread(p.input_strides[1] == 1, lane, warp));
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

}  // namespace

void affine_align_backward_matrices_cuda(const AffineAlignBackwardMatricesParams& params,
                                         cudaStream_t stream) {
  dispatch_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t rows = params.instances * params.out_height;
    launch(sum_rows<T>, dim3(blocks_for(rows, 1)), dim3(kWarpSize, kWarps), stream, params);
    launch(sum_instances<accumulate_t<T>>, dim3(blocks_for(params.instances, 1)), dim3(kWarpSize), stream,
           params);
  });
}

}  // namespace pose2seg
