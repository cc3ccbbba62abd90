#include <algorithm>
#include <type_traits>

#include "core/paste_masks.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/paste.cuh"
#include "cuda/vector.cuh"

// Must move: every byte of the masks or opacities, zeros included, written once, and the probabilities, read
// once. Does move: the masks once, and four taps per pixel of the footprint; caches serve most taps, since an
// RoI is a few KiB and smaller than its footprint. A thread computes the pixels of an aligned word of 16
// bytes that belong to one row, and stores them at once: a warp writes 64 contiguous bytes of 8 rows. At the
// ends of a row, where the rest of the word belongs to another row, it stores single bytes.

namespace pose2seg {
namespace {

constexpr int kWordBytes = 16;
constexpr int kWordsAcross = 4, kRows = 32;  // of a block
constexpr int kThreads = kWordsAcross * kRows;
constexpr int kExact = 1 << 24;  // float represents all smaller whole numbers

using Word = Vector<uint32_t, kWordBytes / 4>;

template <class Pixel>
__device__ void set_byte(Word& word, int i, Pixel pixel) {
  if constexpr (std::is_same_v<Pixel, bool>) {
    if (pixel) word.of[i / 4] |= 1u << i % 4 * 8;
  } else {
    word.of[i / 4] |= uint32_t(pixel) << i % 4 * 8;
  }
}

template <class Pixel, class T, class Coordinate>
__device__ Word paste_word(const PasteParams& params, const T* roi, const RowInRoi<Coordinate>& row,
                           int first, bool inside) {
  const auto threshold = Coordinate(params.threshold);
  Word word = {};
  if (inside) {
#pragma unroll
    for (int i = 0; i < kWordBytes; ++i) {
      const auto point = row.at(Coordinate(first) + Coordinate(i));
      set_byte(word, i, to_pixel<Pixel>(probability_inside(params, roi, point), threshold));
    }
  } else {
#pragma unroll
    for (int i = 0; i < kWordBytes; ++i) {
      const auto point = row.at(Coordinate(int(first + static_cast<unsigned int>(i))));
      set_byte(word, i, to_pixel<Pixel>(paste_probability(params, roi, point), threshold));
    }
  }
  return word;
}

// The resident blocks to ask for where the compiler would otherwise spill; 0 leaves the choice to it.
template <class T>
constexpr int kResident = (sizeof(T) == 8) * 4 + (sizeof(T) == 2) * 6;

template <class T, class Pixel>
__global__ void __launch_bounds__(kThreads, kResident<T>)
    paste(const PasteParams params, const TargetList list) {
  using Coordinate = accumulate_t<T>;
  const PasteTarget& target = list.items[blockIdx.z];
  const auto matrix = affine_cast<Coordinate>(image_to_roi<T>(target));
  const bool invertible = is_invertible(matrix);
  const auto width = static_cast<unsigned int>(target.width);
  const unsigned int start = (blockIdx.x * kWordsAcross + threadIdx.x % kWordsAcross) * kWordBytes;
  // A grid has at most 65535 blocks along y.
  for (int64_t top = int64_t(blockIdx.y) * kRows; top < target.height; top += int64_t(gridDim.y) * kRows) {
    const int64_t row = top + threadIdx.x / kWordsAcross;
    uint8_t* pixels = static_cast<uint8_t*>(target.pixels) + row * width;
    // The first word starts at a whole sector.
    const unsigned int misalignment = reinterpret_cast<uintptr_t>(pixels) % kSectorBytes;
    const bool exists = row < target.height && start < width + misalignment;
    const int first = int(start - misalignment);
    const RowInRoi<Coordinate> in_roi(matrix, Coordinate(int(row)));
    Place place = Place::kOutside;
    if (exists && invertible)
      place = first > kExact - kWordBytes
                  ? Place::kEdge
                  : place_between(params, in_roi.at(Coordinate(first)),
                                  in_roi.at(Coordinate(first) + Coordinate(kWordBytes - 1)));
    // The warp takes one of the two ways for all of its lanes.
    const bool inside = __ballot_sync(kAllLanes, place == Place::kEdge) == 0;
    if (!exists) continue;
    Word word = {};
    if (place != Place::kOutside)
      word = paste_word<Pixel>(params, static_cast<const T*>(target.roi), in_roi, first, inside);
    if (first >= 0 && int64_t(first) + kWordBytes <= target.width) {
      *reinterpret_cast<Word*>(pixels + first) = word;
      continue;
    }
#pragma unroll
    for (int i = 0; i < kWordBytes; ++i)
      if (first + i >= 0 && int64_t(first) + i < target.width)
        pixels[first + i] = static_cast<uint8_t>(word.of[i / 4] >> i % 4 * 8);
  }
}

}  // namespace

void paste_masks_cuda(const PasteParams& params, cudaStream_t stream) {
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    const auto kernel = params.opacities ? paste<T, uint8_t> : paste<T, bool>;
    TargetList::for_each(params.targets, params.target_count,
                         [&](const TargetList& list, int64_t, int64_t count) {
                           int64_t width = 0, height = 0;
                           for (int64_t i = 0; i < count; ++i) {
                             width = std::max(width, list.items[i].width);
                             height = std::max(height, list.items[i].height);
                           }
                           // A row needs more words if it starts within a sector.
                           const dim3 grid(blocks_for(width + kSectorBytes - 1, kWordsAcross * kWordBytes),
                                           std::clamp<int64_t>(blocks_for(height, kRows), 1, 65535),
                                           static_cast<unsigned int>(count));
                           launch(kernel, grid, dim3(kThreads), stream, params, list);
                         });
  });
}

}  // namespace pose2seg
