#include "core/letterbox.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/launch_list.cuh"

// Must move: every image, read once (if it shrinks to less than half its size, only the sectors under the
// taps), and the output, written once. Does move: the output once, and four taps of 3 bytes per output pixel,
// most of which caches serve. One thread computes the three channels of an output pixel, and neighbouring
// threads write neighbouring pixels, one plane after the other. In the channels_last layout the channels pass
// through shared memory, so that the block writes them contiguously. The addresses and sizes of the ragged
// images are passed as kernel arguments, so nothing waits for a copy.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
using ImageList = LaunchList<LetterboxImage, 40>;

// Index is int32_t if it can number the pixels of an output, since 64-bit divisions are slow. kInterleaved:
// the channels of a pixel are adjacent in memory, and so are consecutive pixels.
template <class Out, class Index, bool kInterleaved>
__global__ void __launch_bounds__(kThreads)
    letterbox_images(const LetterboxParams params, const ImageList list, int64_t first) {
  __shared__ Out interleaved[kInterleaved ? kThreads * 3 : 1];
  const LetterboxImage& image = list.items[blockIdx.y];
  const int64_t index = first + blockIdx.y, start = int64_t(blockIdx.x) * kThreads;
  const int64_t pixel = start + threadIdx.x, pixels = params.height * params.width;
  if (pixel == 0) store_matrix(params, image, index);
  Out* output = static_cast<Out*>(params.output) + index * params.output_strides[0];
  if (pixel < pixels) {
    const Index row = Index(pixel) / Index(params.width), column = Index(pixel) % Index(params.width);
    Out* to = kInterleaved ? interleaved + threadIdx.x * 3
                           : output + row * params.output_strides[2] + column * params.output_strides[3];
    letterbox_pixel(params, image, column_taps(image, column), row_taps(image, row), to);
  }
  if constexpr (kInterleaved) {
    __syncthreads();
    const int count = int(min(int64_t(kThreads), pixels - start)) * 3;
    for (int i = int(threadIdx.x); i < count; i += kThreads) output[start * 3 + i] = interleaved[i];
  }
}

template <class Out, class Index>
void launch_images(const LetterboxParams& params, cudaStream_t stream) {
  const int64_t* strides = params.output_strides;
  const bool interleaved = strides[1] == 1 && strides[3] == 3 && strides[2] == 3 * params.width;
  const auto kernel = interleaved ? letterbox_images<Out, Index, true> : letterbox_images<Out, Index, false>;
  ImageList::for_each(
      params.images, params.image_count, [&](const ImageList& list, int64_t first, int64_t count) {
        const dim3 grid(blocks_for(params.height * params.width, kThreads), static_cast<unsigned int>(count));
        launch(kernel, grid, dim3(kThreads), stream, params, list, first);
      });
}

}  // namespace

void letterbox_cuda(const LetterboxParams& params, cudaStream_t stream) {
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    dispatch_index(params.height * params.width <= INT32_MAX,
                   [&](auto index) { launch_images<decltype(type), decltype(index)>(params, stream); });
  });
}

}  // namespace pose2seg
