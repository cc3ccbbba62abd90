#include <algorithm>

#include "core/paste_masks.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/paste.cuh"

// Must move: every byte of the masks or opacities, zeros included, written once, and the probabilities, read
// once. Does move: the masks once, and four taps per pixel of the footprint, which is computed once per
// block; caches serve most taps, since an RoI is a few KiB and smaller than its footprint. A thread computes
// the pixels of one aligned word of 8 bytes, which may belong to several rows, and stores the word at once: a
// warp writes 256 contiguous bytes. If a mask starts or ends within a word, whose other bytes belong to
// another mask, single bytes are stored.

namespace pose2seg {
namespace {

constexpr int kThreads = 256;
constexpr int kWordBytes = 8;

// Index is int32_t if it can number the pixels of a mask, since 64-bit divisions are slow.
template <class T, class Index, class Pixel>
__global__ void __launch_bounds__(kThreads) paste(const PasteParams params, const TargetList list) {
  const PasteTarget& target = list.items[blockIdx.y];
  const auto& [image_to_roi, box] = block_geometry<T>(params, target);
  const T* roi = roi_pixels<T>(params, target.instance);
  auto* pixels = static_cast<uint8_t*>(target.pixels);
  const int misalignment = int(reinterpret_cast<uintptr_t>(pixels) % kWordBytes);
  const int64_t first = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * kWordBytes - misalignment;
  const int64_t count = target.height * target.width;
  if (first >= count) return;

  const Index width = Index(target.width);
  const Index begin = first < 0 ? 0 : Index(first);
  Index row = begin / width, column = begin % width;
  uint64_t word = 0;
  for (int i = first < 0 ? misalignment : 0; i < kWordBytes; ++i) {
    const bool near = column >= box.left && column < box.right && row >= box.top && row < box.bottom;
    if (near) word |= uint64_t(paste_pixel<Pixel>(params, roi, image_to_roi, column, row)) << (8 * i);
    if (++column == width) {
      column = 0;
      ++row;
    }
  }
  if (first >= 0 && first + kWordBytes <= count) {
    *reinterpret_cast<uint64_t*>(pixels + first) = word;
    return;
  }
  for (int i = 0; i < kWordBytes; ++i)
    if (first + i >= 0 && first + i < count) pixels[first + i] = static_cast<uint8_t>(word >> (8 * i));
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
          const bool narrow = largest < INT32_MAX - kWordBytes;
          const auto masks = narrow ? paste<T, int32_t, bool> : paste<T, int64_t, bool>;
          const auto opacities = narrow ? paste<T, int32_t, uint8_t> : paste<T, int64_t, uint8_t>;
          launch(params.opacities ? opacities : masks, grid, dim3(kThreads), stream, params, list);
        });
  });
}

}  // namespace pose2seg
