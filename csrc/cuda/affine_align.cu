#include "core/affine_align.h"
#include "core/bilinear.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

// Reads the four taps of every output pixel in every channel, writes each output once. The geometry of an
// output pixel is worked out once a thread and serves all the channels that the thread visits.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
constexpr int kChannelsPerThread = 16;

struct OutputPixel {
  int64_t instance, row, column;
};

__device__ inline OutputPixel output_pixel(const AffineAlignParams& p, int64_t pixel) {
  const int64_t row = pixel / p.out_width;
  return {row / p.out_height, row % p.out_height, pixel % p.out_width};
}

// The taps of one output pixel, and the reading and writing of its channels.
template <class T>
struct PixelSampler {
  using Compute = accumulate_t<T>;

  const AffineAlignParams& p;
  BilinearTaps<Compute> taps;
  const T* input;
  T* output;

  __device__ PixelSampler(const AffineAlignParams& params, const OutputPixel& at) : p(params), taps{} {
    const int64_t image = p.batch_index[at.instance];
    const bool readable = image >= 0 && image < p.batch;
    input = static_cast<const T*>(p.input) + (readable ? image : 0) * p.input_strides[0];
    output = static_cast<T*>(p.output) + at.instance * p.output_strides[0] + at.row * p.output_strides[2] +
             at.column * p.output_strides[3];
    if (!readable) return;
    const auto forward = load_affine(static_cast<const Compute*>(p.matrices) + at.instance * 6);
    const auto to_input = affine_cast<Compute>(sampling_transform(forward, p.convention, p.height, p.width));
    const Compute column = Compute(at.column), row = Compute(at.row);
    taps = bilinear_taps(to_input.x(column, row), to_input.y(column, row), p.height, p.width);
  }

  __device__ void channel(int64_t channel) const {
    const T* plane = input + channel * p.input_strides[1];
    const auto value = [&](int64_t x, int64_t y) {
      return Compute(plane[y * p.input_strides[2] + x * p.input_strides[3]]);
    };
    output[channel * p.output_strides[1]] = T(taps.interpolate(value));
  }
};

// A thread per output pixel and 16 channels: neighbouring threads write neighbouring columns.
template <class T>
__global__ void __launch_bounds__(kThreads) align_planes(const AffineAlignParams p) {
  const int64_t pixel = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= p.instances * p.out_height * p.out_width) return;
  const PixelSampler<T> sampler(p, output_pixel(p, pixel));
  const int64_t first = int64_t(blockIdx.y) * kChannelsPerThread;
  for (int64_t c = first; c < first + kChannelsPerThread && c < p.channels; ++c) sampler.channel(c);
}

// A warp per output pixel: neighbouring threads read and write neighbouring channels.
template <class T>
__global__ void __launch_bounds__(kThreads) align_channels_last(const AffineAlignParams p) {
  const int64_t pixel = int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
  if (pixel >= p.instances * p.out_height * p.out_width) return;
  const PixelSampler<T> sampler(p, output_pixel(p, pixel));
  for (int64_t c = threadIdx.x; c < p.channels; c += kWarpSize) sampler.channel(c);
}

}  // namespace

void affine_align_cuda(const AffineAlignParams& params, cudaStream_t stream) {
  const int64_t pixels = params.instances * params.out_height * params.out_width;
  dispatch_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    if (params.output_strides[1] == 1) {
      constexpr int kPixels = kThreads / kWarpSize;
      launch(align_channels_last<T>, dim3(blocks_for(pixels, kPixels)), dim3(kWarpSize, kPixels), stream,
             params);
    } else {
      const dim3 grid(blocks_for(pixels, kThreads), blocks_for(params.channels, kChannelsPerThread));
      launch(align_planes<T>, grid, dim3(kThreads), stream, params);
    }
  });
}

}  // namespace pose2seg
