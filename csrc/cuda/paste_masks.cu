#include <algorithm>

#include "core/paste_masks.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

// Writes each mask byte once, zeros included; reads probabilities only inside the footprint. A thread per
// pixel: neighbouring threads write neighbouring bytes. Where the masks go is known on the host and travels
// with the launch, so nothing waits for a copy.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kTargetsPerLaunch = 64;

struct TargetList {
  PasteTarget targets[kTargetsPerLaunch];
};

template <class T>
__global__ void __launch_bounds__(kThreads) paste(const PasteMasksParams params, const TargetList list) {
  using Coordinate = accumulate_t<T>;
  const PasteTarget target = list.targets[blockIdx.y];
  const int64_t pixel = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= target.height * target.width) return;
  const int64_t row = pixel / target.width, column = pixel % target.width;
  const auto matrix = load_affine(static_cast<const Coordinate*>(params.matrices) + target.instance * 6);
  const auto box = paste_footprint(matrix, params.roi_height, params.roi_width, target.height, target.width);
  const bool near = column >= box.left && column < box.right && row >= box.top && row < box.bottom;
  params.output[target.offset + pixel] = near && paste_pixel(params, roi_pixels<T>(params, target.instance),
                                                             affine_cast<Coordinate>(matrix), column, row);
}

}  // namespace

void paste_masks_cuda(const PasteMasksParams& params, cudaStream_t stream) {
  for (int64_t first = 0; first < params.target_count; first += kTargetsPerLaunch) {
    const int64_t count = std::min(kTargetsPerLaunch, params.target_count - first);
    TargetList list = {};
    int64_t largest = 0;
    for (int64_t i = 0; i < count; ++i) {
      list.targets[i] = params.targets[first + i];
      largest = std::max(largest, list.targets[i].height * list.targets[i].width);
    }
    const dim3 grid(blocks_for(largest, kThreads), static_cast<unsigned int>(count));
    dispatch_floating(params.dtype, [&](auto type) {
      launch(paste<decltype(type)>, grid, dim3(kThreads), stream, params, list);
    });
  }
}

}  // namespace pose2seg
