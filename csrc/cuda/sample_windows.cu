#include "core/sample_windows.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

// One thread computes an output pixel in several channels and finds its taps once. If channels are adjacent
// in memory, the lanes of a warp are channels of one pixel; otherwise they are consecutive pixels. Must move:
// the input under the windows, read once, and the output, written once. Does move: the input once for every
// tap, mostly from the caches.

namespace pose2seg {
namespace {

constexpr int kWarps = 8;
// The number of channels per thread. More would spill registers.
template <class T>
constexpr int kChannels = sizeof(T) == 8 ? 4 : 8;

template <class T, int kTaps>
__global__ void __launch_bounds__(kWarpSize* kWarps, 1)
    sample_windows(const SampleWindowsParams p, const bool channels_last) {
  using Compute = accumulate_t<T>;
  __shared__ WindowSampler<Compute> sampler;
  const int64_t pixels = p.out_height * p.out_width,
                pixels_each = channels_last ? kWarps : kWarps * kWarpSize,
                channels_each = channels_last ? kChannels<T> * kWarpSize : kChannels<T>;
  const int64_t pixel_blocks = (pixels - 1) / pixels_each + 1, slices = (p.channels - 1) / channels_each + 1;
  const int64_t instance = blockIdx.x / pixel_blocks / slices;
  if (threadIdx.x == 0 && threadIdx.y == 0) sampler = window_sampler<Compute>(p, instance);
  __syncthreads();
  const int64_t pixel = blockIdx.x % pixel_blocks * pixels_each +
                        (channels_last ? threadIdx.y : threadIdx.y * kWarpSize + threadIdx.x);
  const int64_t first =
                    blockIdx.x / pixel_blocks % slices * channels_each + (channels_last ? threadIdx.x : 0),
                step = channels_last ? kWarpSize : 1;
  if (pixel >= pixels) return;

  const int64_t column = pixel % p.out_width, row = pixel / p.out_width;
  Compute sums[kChannels<T>] = {}, absent = 1;
  if (!sampler.samples_nothing) {
    const T* image = static_cast<const T*>(p.input) + p.batch_index[instance] * p.input_strides[0];
    sampler.visit(column, row, [&](const auto& at) {
      sampler.template visit_taps<kTaps>(at, [&](int64_t x, int64_t y, Compute weight) {
        const T* from = image + y * p.input_strides[2] + x * p.input_strides[3];
        absent -= weight;
        for (int k = 0; k < kChannels<T>; ++k)
          if (const int64_t c = first + k * step; c < p.channels)
            sums[k] += weight * Compute(from[c * p.input_strides[1]]);
      });
    });
    for (Compute& sum : sums) sum += absent * Compute(p.sampling.fill);
  }
  T* to = static_cast<T*>(p.output) + instance * p.output_strides[0] + row * p.output_strides[2] +
          column * p.output_strides[3];
  for (int k = 0; k < kChannels<T>; ++k)
    if (const int64_t c = first + k * step; c < p.channels) to[c * p.output_strides[1]] = T(sums[k]);
}

}  // namespace

void sample_windows_cuda(const SampleWindowsParams& p, cudaStream_t stream) {
  const bool channels_last = p.input_strides[1] == 1;
  dispatch_cuda_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t pixels = channels_last ? kWarps : kWarps * kWarpSize,
                  channels = channels_last ? kChannels<T> * kWarpSize : kChannels<T>;
    const int64_t blocks =
        p.instances * ((p.out_height * p.out_width - 1) / pixels + 1) * ((p.channels - 1) / channels + 1);
    dispatch_taps(p.sampling.interpolation, [&](auto taps) {
      launch(sample_windows<T, taps>, dim3(blocks_for(blocks, 1)), dim3(kWarpSize, kWarps), stream, p,
             channels_last);
    });
  });
}

}  // namespace pose2seg
