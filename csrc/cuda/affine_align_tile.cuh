#pragma once

#include <cmath>

#include "core/affine_align.h"
#include "core/bilinear.h"
#include "cuda/launch.cuh"
#include "cuda/tile_shape.cuh"

// The geometry of the kernels of affine_align: the tile of output pixels that a block computes, and the
// position at which each of them samples the input. It is computed once per block, before any channel is
// processed, and shared by the threads.

namespace pose2seg {

// The number of tiles across and down a window, which are counted row by row, instance after instance. If
// these are few, the work of a block is halved several times: align_planes gives a block fewer channels, and
// the other kernels divide the pixels of a tile among several blocks, which are neighbours in blockIdx.x.
struct Tiling {
  unsigned int across, down;
  int halvings;
};

// The group of channels of the block: grid.y, continued in grid.z beyond the limit of grid.y.
__device__ inline int64_t group_of_block() { return int64_t(blockIdx.z) * gridDim.y + blockIdx.y; }

// Values that all pixels of a tile share.
template <class Compute>
struct Window {
  Affine<Compute> to_input;
  int64_t image;
  unsigned int instance, tile_row, tile_column;
};

template <class Compute>
__device__ Window<Compute> window_of_tile(const AffineAlignParams& p, const Tiling& tiling,
                                          unsigned int tile) {
  const unsigned int row = tile / tiling.across, instance = row / tiling.down;
  // Both are loaded before either is used, so that their latencies overlap.
  const int64_t image = p.batch_index[instance];
  Window<Compute> window = {p.to_input<Compute>(instance), image, instance, row % tiling.down,
                            tile % tiling.across};
  if (p.has_image(image)) return window;
  // An image that does not exist is sampled at NaN, where no tap is present, so nothing is read.
  window.to_input = {0, 0, Compute(NAN), 0, 0, Compute(NAN)};
  window.image = 0;
  return window;
}

constexpr int kAllTaps = (1 << kTaps) - 1;
constexpr int kNoPixel = -1;  // beyond the edge of the window; every tap bit is set

// Offsets in bytes from the start of the tensors: the upper left tap, and the output pixel, in channel 0.
struct alignas(16) PixelOffsets {
  int64_t input, output;
};

// The samples of a tile, held in shared memory. Strides are in units of Element; Index holds every offset in
// these units.
template <class Compute, class Element, class Index, class Shape>
struct TileSamples {
  Window<Compute> window;
  TapWeights<Compute> weights[Shape::kPixels];
  PixelOffsets offsets[Shape::kPixels];
  int present[Shape::kPixels];  // one bit per tap, or kNoPixel

  // Called by all threads of the block, of which there must be at least as many as pixels. Returns, to all of
  // them, whether every tap of every pixel in the window is present.
  __device__ bool locate(const AffineAlignParams& p, const Tiling& tiling, unsigned int tile,
                         unsigned int thread) {
    if (thread == 0) window = window_of_tile<Compute>(p, tiling, tile);
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
    weights[pixel] = bilinear_weights(taps.right, taps.lower);
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
