#include <algorithm>

#include "core/paste_masks.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/paste.cuh"

// Must move: every mask byte, zeros included, written once, and the probabilities, read once. Does move: the
// masks once; four taps a pixel of the footprint, which is worked out once a block, and of which caches serve
// most, for an RoI is a few KiB and smaller than where it goes. A thread has the pixels of one aligned word
// of 8 bytes, whichever rows they are in, and stores it at once: a warp writes 256 bytes in a row. A mask may
// begin and end within a word, whose other bytes belong to another mask; there it stores bytes.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
constexpr int kWordBytes = 8;

// Index: int32_t where it can number the pixels of a mask, since 64-bit divisions are slow.
template <class T, class Index>
__global__ void __launch_bounds__(kThreads) paste(const PasteParams params, const TargetList list) {
  const PasteTarget& target = list.items[blockIdx.y];
  const auto& [image_to_roi, box] = block_geometry<T>(params, target);
  const T* roi = roi_pixels<T>(params, target.instance);
  bool* mask = target.mask;
  const int misalignment = int(reinterpret_cast<uintptr_t>(mask) % kWordBytes);
  const int64_t first = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * kWordBytes - misalignment;
  const int64_t pixels = target.height * target.width;
  if (first >= pixels) return;

  const Index width = Index(target.width);
  const Index begin = first < 0 ? 0 : Index(first);
  Index row = begin / width, column = begin % width;
  uint64_t word = 0;
  for (int i = first < 0 ? misalignment : 0; i < kWordBytes; ++i) {
    const bool near = column >= box.left && column < box.right && row >= box.top && row < box.bottom;
    if (near && paste_pixel(params, roi, image_to_roi, column, row)) word |= uint64_t(1) << (8 * i);
    if (++column == width) {
      column = 0;
      ++row;
    }
  }
  if (first >= 0 && first + kWordBytes <= pixels) {
    *reinterpret_cast<uint64_t*>(mask + first) = word;
    return;
  }
  for (int i = 0; i < kWordBytes; ++i)
    if (first + i >= 0 && first + i < pixels) mask[first + i] = word >> (8 * i) & 1;
}

}  // namespace

void paste_masks_cuda(const PasteParams& params, cudaStream_t stream) {
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    TargetList::for_each(
        params.targets, params.target_count, [&](const TargetList& list, int64_t, int64_t count) {
          int64_t largest = 0;
          for (int64_t i = 0; i < count; ++i)
            largest = std::max(largest, list.items[i].height * list.items[i].width);
          const dim3 grid(blocks_for(largest + kWordBytes - 1, kThreads * kWordBytes),
                          static_cast<unsigned int>(count));
          const auto kernel = largest < INT32_MAX - kWordBytes ? paste<T, int32_t> : paste<T, int64_t>;
          launch(kernel, grid, dim3(kThreads), stream, params, list);
        });
  });
}

}  // namespace pose2seg
