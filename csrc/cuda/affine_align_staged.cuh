#pragma once

#include "cuda/affine_align_channels_last.cuh"

// The kernel of affine_align where the channels of a pixel lie next to each other and the pixels of the input
// line up to 16 bytes, but those of the output do not: it is a part of a wider one, as in
// align_with_skeleton.
//
// As align_channels_last, a warp a pixel; only that its vectors pass through shared memory, from where
// neighbouring lanes store neighbouring channels, beginning at a whole sector wherever the pixel begins.

namespace pose2seg {

constexpr unsigned int kStagingWarps = kChannelsLastThreads / kWarpSize;

// Stores `count` channels by a warp whose lanes begin at a whole sector, wherever `output` begins: the lanes
// before its first channel take the last ones. All lanes go through the loop together; at a pace of their own
// they would store from different places at once.
template <class T>
__device__ void store_from_sectors(const T* values, T* output, int count, int lane) {
  const int unaligned = int(reinterpret_cast<uintptr_t>(output) / sizeof(T) % (kSectorBytes / sizeof(T)));
  const int channel = count < kWarpSize ? lane : lane - unaligned;
  const int begin = channel < 0 ? channel + count : channel;
  if (lane < count) output[begin] = values[begin];
  for (int start = kWarpSize; start < count; start += kWarpSize)
    if (start + lane < count) output[start + channel] = values[start + channel];
}

// blockDim is (warp, pixels at once). The channels and strides of p count elements.
template <class T, class Index, int kVector>
__global__ void __launch_bounds__(kChannelsLastThreads, 4)
    align_staged(const AffineAlignParams p, const Tiling tiling) {
  using Channels = Vector<T, kVector>;
  constexpr int kVectors = kVectorsPerLane<kVector>, kChunk = kVectors * kWarpSize;
  __shared__ TileSamples<accumulate_t<T>, T, Index, ChannelsLastTile> samples;
  __shared__ Channels staged[kStagingWarps][kChunk];
  const int lane = int(threadIdx.x);
  const bool all_present = samples.locate(p, tiling, threadIdx.y * kWarpSize + threadIdx.x);

  const TapSteps steps = {p.input_strides[3] / kVector, p.input_strides[2] / kVector};
  const int64_t first = group_of_block() * kChunk, rest = p.channels / kVector - first;
  const int vectors = rest < kChunk ? int(rest) : kChunk;
  Channels* const stage = staged[threadIdx.y];
  const auto sample = [&](unsigned int pixel, int vector, auto count, auto all) {
    sample_vectors<decltype(count)::value, decltype(all)::value>(
        at_byte<Channels>(p.input, samples.offsets[pixel].input) + first + vector, stage + vector, steps,
        samples.weights[pixel], samples.present[pixel]);
  };
  constexpr auto kOne = std::integral_constant<int, 1>{};
  constexpr auto kMany = std::integral_constant<int, kVectors>{};

  for (unsigned int pixel = threadIdx.y; pixel < ChannelsLastTile::kPixels; pixel += kStagingWarps) {
    if (samples.present[pixel] == kNoPixel) continue;
    if (all_present && vectors == kChunk)
      sample(pixel, lane, kMany, std::true_type{});
    else
      for (int vector = lane; vector < vectors; vector += kWarpSize)
        sample(pixel, vector, kOne, std::false_type{});
    __syncwarp();
    T* output = at_byte<T>(p.output, samples.offsets[pixel].output) + first * kVector;
    if (vectors == kChunk)  // of a length that the compiler knows: unrolled
      store_from_sectors(stage->of, output, kChunk * kVector, lane);
    else
      store_from_sectors(stage->of, output, vectors * kVector, lane);
    __syncwarp();
  }
}

}  // namespace pose2seg
