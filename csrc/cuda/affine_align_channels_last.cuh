#pragma once

#include <type_traits>

#include "cuda/affine_align_tile.cuh"
#include "cuda/vector.cuh"

// The kernel of affine_align where the channels of a pixel lie next to each other, in input and output.
//
// A block owns 8 x 8 output pixels of an instance, compact so that neighbours find their taps in the L1
// cache. Each pixel is served by as many lanes as its channels need, up to a warp. A lane loads the four taps
// of a vector of 16 bytes (of one channel, where the pixels do not line up to 16 bytes), of two such vectors
// at once (of four channels), and then interpolates and stores them. No load is guarded where all taps of the
// pixel are present.

namespace pose2seg {

using ChannelsLastTile = TileShape<8, 8, 8>;
constexpr unsigned int kChannelsLastThreads = 256;

// At once, for a lane; limited by the registers that its channels take.
template <int kVector>
constexpr int kVectorsPerLane = kVector == 1   ? 4
                                : kVector == 8 ? 1
                                               : 2;

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

// In vectors, from the upper left tap.
struct TapSteps {
  int64_t right, lower;
};

// Samples a lane's vectors of one pixel, a warp's width apart. kWhole: all of them exist, and all taps are
// present; else as far as the `rest` of the vectors goes, and as `present` says.
template <bool kWhole, class T, int kVector>
__device__ void sample_pixel(const Vector<T, kVector>* input, Vector<T, kVector>* output,
                             const TapSteps& steps, int64_t rest, const TapWeights<accumulate_t<T>>& weights,
                             int present) {
  constexpr int kVectors = kVectorsPerLane<kVector>;
  const Vector<T, kVector>* const addresses[kTaps] = {input, input + steps.right, input + steps.lower,
                                                      input + steps.lower + steps.right};
  Vector<T, kVector> taps[kVectors][kTaps];
  for (int i = 0; i < kVectors; ++i)
    if (kWhole || i * kWarpSize < rest)
      for (int tap = 0; tap < kTaps; ++tap)
        taps[i][tap] = kWhole || (present & 1 << tap) ? addresses[tap][i * kWarpSize] : Vector<T, kVector>{};
  for (int i = 0; i < kVectors; ++i)
    if (kWhole || i * kWarpSize < rest) output[i * kWarpSize] = interpolate(taps[i], weights);
}

// blockDim is (lanes a pixel, pixels at once). The channels and strides of p count vectors.
template <class T, class Index, int kVector>
__global__ void __launch_bounds__(kChannelsLastThreads)
    align_channels_last(const AffineAlignParams p, const Tiling tiling) {
  using Channels = Vector<T, kVector>;
  constexpr int kChunk = kVectorsPerLane<kVector> * kWarpSize;
  __shared__ TileSamples<accumulate_t<T>, Channels, Index, ChannelsLastTile> samples;
  const bool all_present = samples.locate(p, tiling, threadIdx.y * blockDim.x + threadIdx.x);

  const int64_t first = group_of_block() * kChunk, vector = first + threadIdx.x;
  const TapSteps steps = {p.input_strides[3], p.input_strides[2]};
  const auto sample = [&](unsigned int pixel, auto whole) {
    const PixelOffsets offsets = samples.offsets[pixel];
    sample_pixel<decltype(whole)::value>(at_byte<Channels>(p.input, offsets.input) + vector,
                                         at_byte<Channels>(p.output, offsets.output) + vector, steps,
                                         p.channels - vector, samples.weights[pixel], samples.present[pixel]);
  };
  const bool whole_tile = samples.present[ChannelsLastTile::kPixels - 1] != kNoPixel;
  if (all_present && whole_tile && first + kChunk <= p.channels) {
    for (unsigned int pixel = threadIdx.y; pixel < ChannelsLastTile::kPixels; pixel += blockDim.y)
      sample(pixel, std::true_type{});
  } else {
    for (unsigned int pixel = threadIdx.y; pixel < ChannelsLastTile::kPixels; pixel += blockDim.y)
      if (samples.present[pixel] != kNoPixel) sample(pixel, std::false_type{});
  }
}

}  // namespace pose2seg
