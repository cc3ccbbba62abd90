#include <algorithm>

#include "core/letterbox.h"
#include "cuda/launch.cuh"

// Reads the four taps of every output pixel, writes each output once. A thread per output pixel and its three
// channels: neighbouring threads write neighbouring columns. The ragged images' addresses and sizes travel
// with the launch, so nothing waits for a copy.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kImagesPerLaunch = 48;

struct ImageList {
  LetterboxImage images[kImagesPerLaunch];
};

__global__ void __launch_bounds__(kThreads)
    letterbox_images(const LetterboxParams params, const ImageList list, int64_t first) {
  const int64_t pixel = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= params.height * params.width) return;
  letterbox_pixel(params, list.images[blockIdx.y], first + blockIdx.y, pixel % params.width,
                  pixel / params.width);
}

}  // namespace

void letterbox_cuda(const LetterboxParams& params, cudaStream_t stream) {
  for (int64_t first = 0; first < params.image_count; first += kImagesPerLaunch) {
    const int64_t count = std::min(kImagesPerLaunch, params.image_count - first);
    ImageList list = {};
    std::copy_n(params.images + first, count, list.images);
    const dim3 grid(blocks_for(params.height * params.width, kThreads), static_cast<unsigned int>(count));
    launch(letterbox_images, grid, dim3(kThreads), stream, params, list, first);
  }
}

}  // namespace pose2seg
