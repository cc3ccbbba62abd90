#pragma once

#include <type_traits>

#include "cuda/affine_align_tile.cuh"
#include "cuda/vector.cuh"

// The kernel of affine_align for input and output whose channels are adjacent in memory.
//
// A block computes 8 x 8 output pixels of an instance, a compact tile, so that neighbouring pixels share
// their taps in the L1 cache, or a part of them. Each pixel is processed by as many lanes as its channels
// need, up to a warp. A lane loads the four taps of a vector of 16 bytes (of one channel if the pixels are
// not aligned to 16 bytes), of two such vectors at once (of four channels), and then interpolates and stores
// them. The remaining channels are processed one vector at a time. Loads are unconditional if all taps of the
// tile lie inside the input.

namespace pose2seg {

using ChannelsLastTile = TileShape<8, 8, 8>;
constexpr unsigned int kChannelsLastThreads = 256;

// The number of vectors that a lane processes at once. It is limited by the registers that eight or more half
// values take in float32.
template <int kVector>
constexpr int kVectorsPerLane = kVector == 1  ? 4
                                : kVector < 8 ? 2
                                              : 1;

template <class T, int kVector>
__device__ Vector<T, kVector> interpolate(const Vector<T, kVector> (&taps)[kTaps],
                                          const TapWeights<accumulate_t<T>>& weights) {
  Vector<T, kVector> result;
  for (int c = 0; c < kVector; ++c) {
    accumulate_t<T> values[kTaps];
    for (int tap = 0; tap < kTaps; ++tap) values[tap] = accumulate_t<T>(taps[tap].of[c]);
    result.of[c] = T(weights.interpolate(values));
  }
  return result;
}

// The pixels of a tile that a group of lanes, threadIdx.y of its block, processes.
struct PixelShare {
  unsigned int first, step;

  __device__ explicit PixelShare(const Tiling& tiling)
      : first((blockIdx.x & ((1u << tiling.halvings) - 1)) * blockDim.y + threadIdx.y),
        step(blockDim.y << tiling.halvings) {}
};

// Offsets from the upper left tap, in vectors.
struct TapSteps {
  int64_t right, lower;
};

// Samples kVectors vectors of one pixel, which are a warp width apart.
template <int kVectors, bool kAllPresent, class T, int kVector>
__device__ void sample_vectors(const Vector<T, kVector>* input, Vector<T, kVector>* output,
                               const TapSteps& steps, const TapWeights<accumulate_t<T>>& weights,
                               int present) {
  const Vector<T, kVector>* const addresses[kTaps] = {input, input + steps.right, input + steps.lower,
                                                      input + steps.lower + steps.right};
  Vector<T, kVector> taps[kVectors][kTaps];
  for (int i = 0; i < kVectors; ++i)
    for (int tap = 0; tap < kTaps; ++tap)
      taps[i][tap] =
          kAllPresent || (present & 1 << tap) ? addresses[tap][i * kWarpSize] : Vector<T, kVector>{};
  for (int i = 0; i < kVectors; ++i) output[i * kWarpSize] = interpolate(taps[i], weights);
}

// blockDim is (lanes per pixel, pixels at once). The channels and strides of p are in vectors.
template <class T, class Index, int kVector>
__global__ void __launch_bounds__(kChannelsLastThreads, 4)
    align_channels_last(const AffineAlignParams p, const Tiling tiling) {
  using Channels = Vector<T, kVector>;
  constexpr int kVectors = kVectorsPerLane<kVector>, kChunk = kVectors * kWarpSize;
  __shared__ TileSamples<accumulate_t<T>, Channels, Index, ChannelsLastTile> samples;
  const bool all_present =
      samples.locate(p, tiling, blockIdx.x >> tiling.halvings, threadIdx.y * blockDim.x + threadIdx.x);
  const PixelShare share(tiling);

  const TapSteps steps = {p.input_strides[3], p.input_strides[2]};
  const auto sample = [&](unsigned int pixel, int64_t vector, auto count, auto all) {
    const PixelOffsets offsets = samples.offsets[pixel];
    sample_vectors<decltype(count)::value, decltype(all)::value>(
        at_byte<Channels>(p.input, offsets.input) + vector,
        at_byte<Channels>(p.output, offsets.output) + vector, steps, samples.weights[pixel],
        samples.present[pixel]);
  };
  constexpr auto kOne = std::integral_constant<int, 1>{};
  constexpr auto kMany = std::integral_constant<int, kVectors>{};

  const int64_t first = group_of_block() * kChunk, last = first + kChunk;
  const bool whole_tile = samples.present[ChannelsLastTile::kPixels - 1] != kNoPixel;
  if (all_present && whole_tile && last <= p.channels) {
    for (unsigned int pixel = share.first; pixel < ChannelsLastTile::kPixels; pixel += share.step)
      sample(pixel, first + threadIdx.x, kMany, std::true_type{});
    return;
  }
  for (unsigned int pixel = share.first; pixel < ChannelsLastTile::kPixels; pixel += share.step) {
    if (samples.present[pixel] == kNoPixel) continue;
    for (int64_t vector = first + threadIdx.x; vector < last && vector < p.channels; vector += kWarpSize) {
      if (all_present)
        sample(pixel, vector, kOne, std::true_type{});
      else
        sample(pixel, vector, kOne, std::false_type{});
    }
  }
}

}  // namespace pose2seg
