#include <algorithm>

#include "core/letterbox.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

// Must move: every image, read once, or where it shrinks to less than half, its sectors under the taps; and
// the output, written once. Does move: the output once; four taps of 3 bytes an output pixel, of which caches
// serve most. A thread per output pixel and its three channels: neighbouring threads write neighbouring
// pixels, of one plane after the other, or channels_last three times into the same sectors. The ragged
// images' addresses and sizes travel with the launch, so nothing waits for a copy.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kImagesPerLaunch = 40;  // kernel arguments are at most 4 KiB

struct ImageList {
  LetterboxImage images[kImagesPerLaunch];
};

// Index: int32_t where it can number the pixels of an output, since 64-bit divisions are slow.
template <class Out, class Index>
__global__ void __launch_bounds__(kThreads)
    letterbox_images(const LetterboxParams params, const ImageList list, int64_t first) {
  const LetterboxImage& image = list.images[blockIdx.y];
  const int64_t index = first + blockIdx.y, pixel = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel == 0) store_matrix(params, image, index);
  if (pixel >= params.height * params.width) return;
  const Index row = Index(pixel) / Index(params.width), column = Index(pixel) % Index(params.width);
  Out* output = static_cast<Out*>(params.output) + index * params.output_strides[0] +
                row * params.output_strides[2] + column * params.output_strides[3];
  letterbox_pixel(params, image, column_taps(image, column), row_taps(image, row), output);
}

}  // namespace

void letterbox_cuda(const LetterboxParams& params, cudaStream_t stream) {
  const int64_t pixels = params.height * params.width;
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using Out = decltype(type);
    const auto kernel = pixels <= INT32_MAX ? letterbox_images<Out, int32_t> : letterbox_images<Out, int64_t>;
    for (int64_t first = 0; first < params.image_count; first += kImagesPerLaunch) {
      const int64_t count = std::min(kImagesPerLaunch, params.image_count - first);
      ImageList list = {};
      std::copy_n(params.images + first, count, list.images);
      const dim3 grid(blocks_for(pixels, kThreads), static_cast<unsigned int>(count));
      launch(kernel, grid, dim3(kThreads), stream, params, list, first);
    }
  });
}

}  // namespace pose2seg
