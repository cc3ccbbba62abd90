#include "core/sample_windows.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

// One warp computes a tile of the input gradient in 32 channels. It searches the pixels of all windows of the
// image for those with a tap in the tile, one pixel per lane; with padding or a projective map they may be
// anywhere in a window. Then the lanes are channels, and the pixels that were found are added in
// order, so that the bits are the same on every run, without atomics. Must move: the output gradient, read
// once, and the input gradient, written once. Does move: the output gradient once for each tile that a pixel
// has a tap in, of which there are few.

namespace pose2seg {
namespace {

using Params = SampleWindowsBackwardInputParams;

constexpr int kColumns = 8, kRows = 4, kWarps = 4, kThreads = 64;

template <class T>
__global__ void __launch_bounds__(kThreads, 1) find_samplers(const Params p) {
  const int64_t instance = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (instance < p.instances)
    static_cast<WindowSampler<T>*>(p.samplers)[instance] = window_sampler<T>(p, instance);
}

// A tile of the input.
struct Tile {
  int64_t left, top;

  __device__ bool has(int64_t x, int64_t y) const {
    return x >= left && x < left + kColumns && y >= top && y < top + kRows;
  }
};

template <class T, int kTaps>
__global__ void __launch_bounds__(kWarpSize* kWarps, 1) gather_windows(const Params p, const int64_t tiles) {
  using Compute = accumulate_t<T>;
  __shared__ Compute sums[kWarps][kRows * kColumns][kWarpSize];
  const int lane = int(threadIdx.x);
  const int64_t across = (p.width - 1) / kColumns + 1, down = (p.height - 1) / kRows + 1,
                slices = (p.channels - 1) / kWarpSize + 1, index = int64_t(blockIdx.x) * kWarps + threadIdx.y;
  if (index >= tiles) return;
  const Tile tile = {index % across * kColumns, index / across % down * kRows};
  const int64_t first = index / across / down % slices * kWarpSize, image = index / across / down / slices,
                channel = first + lane;
  auto& of_tile = sums[threadIdx.y];
  for (auto& pixel : of_tile) pixel[lane] = 0;

  const int64_t pixels = p.out_height * p.out_width;
  for (int64_t instance = 0; instance < p.instances; ++instance) {
    if (p.batch_index[instance] != image) continue;
    const WindowSampler<Compute>& sampler = static_cast<const WindowSampler<Compute>*>(p.samplers)[instance];
    const T* grad =
        static_cast<const T*>(p.grad) + instance * p.output_strides[0] + channel * p.output_strides[1];
    for (int64_t begin = 0; begin < pixels; begin += kWarpSize) {
      bool is_found = false;
      if (const int64_t pixel = begin + lane; pixel < pixels)
        sampler.visit(pixel % p.out_width, pixel / p.out_width, [&](const auto& at) {
          sampler.template visit_taps<kTaps>(
              at, [&](int64_t x, int64_t y, Compute) { is_found = is_found || tile.has(x, y); });
        });
      for (uint32_t found = __ballot_sync(kAllLanes, is_found); found != 0; found &= found - 1) {
        const int64_t pixel = begin + __ffs(int(found)) - 1, column = pixel % p.out_width,
                      row = pixel / p.out_width;
        const Compute value = channel < p.channels
                                  ? Compute(grad[row * p.output_strides[2] + column * p.output_strides[3]])
                                  : 0;
        sampler.visit(column, row, [&](const auto& at) {
          sampler.template visit_taps<kTaps>(at, [&](int64_t x, int64_t y, Compute weight) {
            if (tile.has(x, y)) of_tile[(y - tile.top) * kColumns + x - tile.left][lane] += weight * value;
          });
        });
      }
    }
  }

  T* to = static_cast<T*>(p.grad_input) + image * p.input_strides[0];
  const bool channels_last = p.input_strides[1] == 1;
  __syncwarp();
  for (int i = 0; i < kWarpSize; ++i) {
    const int pixel = channels_last ? i : lane, c = channels_last ? lane : i;
    const int64_t x = tile.left + pixel % kColumns, y = tile.top + pixel / kColumns;
    if (x < p.width && y < p.height && first + c < p.channels)
      to[(first + c) * p.input_strides[1] + y * p.input_strides[2] + x * p.input_strides[3]] =
          T(of_tile[pixel][c]);
  }
}

}  // namespace

void sample_windows_backward_input_cuda(const Params& p, cudaStream_t stream) {
  static_assert(kRows * kColumns == kWarpSize);
  const int64_t tiles = p.batch * ((p.channels - 1) / kWarpSize + 1) * ((p.height - 1) / kRows + 1) *
                        ((p.width - 1) / kColumns + 1);
  dispatch_cuda_floating(p.dtype, [&](auto type) {
    using T = decltype(type);
    launch(find_samplers<accumulate_t<T>>, dim3(blocks_for(p.instances, kThreads)), dim3(kThreads), stream,
           p);
    dispatch_taps(p.sampling.interpolation, [&](auto taps) {
      launch(gather_windows<T, taps>, dim3(blocks_for(tiles, kWarps)), dim3(kWarpSize, kWarps), stream, p,
             tiles);
    });
  });
}

}  // namespace pose2seg
