#include "core/letterbox.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/launch_list.cuh"

// Must move: every image, read once, or where it shrinks to less than half, its sectors under the taps; and
// the output, written once. Does move: the output once; four taps of 3 bytes an output pixel, of which caches
// serve most. A thread per output pixel and its three channels: neighbouring threads write neighbouring
// pixels, of one plane after the other. Channels that lie next to each other go through shared memory, to be
// written in one row by the block. The ragged images' addresses and sizes travel with the launch, so nothing
// waits for a copy.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
using ImageList = LaunchList<LetterboxImage, 40>;

// Index: int32_t where it can number the pixels of an output, since 64-bit divisions are slow.
// kInterleaved: the channels of a pixel lie next to each other, and pixel follows on pixel.
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
