#pragma once

#include <cmath>

#include "core/affine_align.h"
#include "core/bilinear.h"
#include "cuda/launch.cuh"
#include "cuda/tile_shape.cuh"

// The geometry of affine_align's kernels: the tile of output pixels that a block owns, and where each of them
// samples the input. It is worked out once a block, before any channel is touched, and shared by its threads.

namespace pose2seg {

// Tiles across and down a window; blockIdx.x counts them in reading order, instance after instance.
struct Tiling {
  unsigned int across, down;
};

// A block's group of channels: grid.y, continued in grid.z where it ends.
__device__ inline int64_t group_of_block() { return int64_t(blockIdx.z) * gridDim.y + blockIdx.y; }

// What all pixels of a tile have in common.
template <class Compute>
struct Window {
  Affine<Compute> to_input;
  int64_t image;
  unsigned int instance, tile_row, tile_column;
};

template <class Compute>
__device__ Window<Compute> window_of_block(const AffineAlignParams& p, const Tiling& tiling) {
  const unsigned int row = blockIdx.x / tiling.across, instance = row / tiling.down;
  // Nothing is read of an image that does not exist: no tap is present at NaN.
  Window<Compute> window = {
      {0, 0, Compute(NAN), 0, 0, Compute(NAN)}, 0, instance, row % tiling.down, blockIdx.x % tiling.across};
  const int64_t image = p.batch_index[instance];
  if (image < 0 || image >= p.batch) return window;
  const auto forward = load_affine(static_cast<const Compute*>(p.matrices) + int64_t(instance) * 6);
  window.to_input = affine_cast<Compute>(sampling_transform(forward, p.convention, p.height, p.width));
  window.image = image;
  return window;
}

enum Tap { kUpperLeft, kUpperRight, kLowerLeft, kLowerRight, kTaps };

constexpr int kAllTaps = (1 << kTaps) - 1;
constexpr int kNoPixel = -1;  // beyond the edge of the window; all taps, to who asks for those alone

template <class Compute>
struct alignas(16) TapWeights {
  Compute of[kTaps];

  // In the order of BilinearTaps::interpolate. The value of an absent tap is to be 0.
  __device__ Compute interpolate(const Compute (&values)[kTaps]) const {
    Compute sum = 0;
    for (int tap = 0; tap < kTaps; ++tap) sum += of[tap] * values[tap];
    return sum;
  }
};

// In bytes, from the start of the tensors: the upper left tap, and the output pixel, in channel 0.
struct alignas(16) PixelOffsets {
  int64_t input, output;
};

// The samples of a tile, in shared memory. Element is what the strides count; Index fits every offset in
// them.
template <class Compute, class Element, class Index, class Shape>
struct TileSamples {
  Window<Compute> window;
  TapWeights<Compute> weights[Shape::kPixels];
  PixelOffsets offsets[Shape::kPixels];
  int present[Shape::kPixels];  // a bit for each tap, or kNoPixel

  // For all threads of the block, of which there are at least as many as pixels. Returns, to all of them,
  // whether every tap of every pixel in the window is present.
  __device__ bool locate(const AffineAlignParams& p, const Tiling& tiling, unsigned int thread) {
    if (thread == 0) window = window_of_block<Compute>(p, tiling);
    __syncthreads();
    const int taps = thread < Shape::kPixels ? locate_pixel(p, thread) : kAllTaps;
    return __syncthreads_and((taps & kAllTaps) == kAllTaps);
  }

 private:
  __device__ int locate_pixel(const AffineAlignParams& p, unsigned int pixel) {
    const Index row = Index(window.tile_row) * Shape::kRows + Shape::row(pixel);
    const Index column = Index(window.tile_column) * Shape::kColumns + Shape::column(pixel);
    if (row >= p.out_height || column >= p.out_width) return present[pixel] = kNoPixel;

    const Compute x = window.to_input.x(Compute(column), Compute(row)),
                  y = window.to_input.y(Compute(column), Compute(row));
    const auto taps = bilinear_taps(x, y, p.height, p.width);
    const Compute left = 1 - taps.right, upper = 1 - taps.lower;
    weights[pixel] = {{upper * left, upper * taps.right, taps.lower * left, taps.lower * taps.right}};
    const Index input = Index(window.image) * Index(p.input_strides[0]) +
                        Index(taps.y) * Index(p.input_strides[2]) + Index(taps.x) * Index(p.input_strides[3]);
    const Index output = Index(window.instance) * Index(p.output_strides[0]) +
                         row * Index(p.output_strides[2]) + column * Index(p.output_strides[3]);
    offsets[pixel] = {int64_t(input) * int64_t(sizeof(Element)), int64_t(output) * int64_t(sizeof(Element))};
    const int columns = taps.has_left << kUpperLeft | taps.has_right << kUpperRight;
    return present[pixel] = (taps.has_upper ? columns : 0) | (taps.has_lower ? columns << kLowerLeft : 0);
  }
};

template <class Element>
__device__ const Element* at_byte(const void* start, int64_t offset) {
  return reinterpret_cast<const Element*>(static_cast<const char*>(start) + offset);
}

template <class Element>
__device__ Element* at_byte(void* start, int64_t offset) {
  return reinterpret_cast<Element*>(static_cast<char*>(start) + offset);
}

}  // namespace pose2seg
