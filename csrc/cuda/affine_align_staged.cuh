#pragma once

#include "cuda/affine_align_channels_last.cuh"

// The kernel of affine_align for tensors whose channels are adjacent in memory and whose input pixels are
// aligned to 16 bytes but whose output pixels are not, because the output is a part of a wider tensor, as in
// align_with_skeleton.
//
// Like align_channels_last with one warp per pixel, but the vectors pass through shared memory, from which
// neighbouring lanes store neighbouring channels, starting at a whole sector wherever the pixel starts.

namespace pose2seg {

constexpr unsigned int kStagingWarps = kChannelsLastThreads / kWarpSize;

// Stores `count` channels by a warp whose lanes start at a whole sector, wherever `output` starts; the lanes
// before its first channel store the last ones. All lanes execute the loop together; if they diverged, they
// would store to different places at once.
template <class T>
__device__ void store_from_sectors(const T* values, T* output, int count, int lane) {
  const int unaligned = int(reinterpret_cast<uintptr_t>(output) / sizeof(T) % (kSectorBytes / sizeof(T)));
  const int channel = count < kWarpSize ? lane : lane - unaligned;
  const int begin = channel < 0 ? channel + count : channel;
  if (lane < count) output[begin] = values[begin];
  for (int start = kWarpSize; start < count; start += kWarpSize)
    if (start + lane < count) output[start + channel] = values[start + channel];
}

// blockDim is (warp, pixels at once). The channels and strides of p are in elements.
template <class T, class Index, int kVector>
__global__ void __launch_bounds__(kChannelsLastThreads, 4)
    align_staged(const AffineAlignParams p, const Tiling tiling) {
  using Channels = Vector<T, kVector>;
  constexpr int kVectors = kVectorsPerLane<kVector>, kChunk = kVectors * kWarpSize;
  __shared__ TileSamples<accumulate_t<T>, T, Index, ChannelsLastTile> samples;
  __shared__ Channels staged[kStagingWarps][kChunk];
  const int lane = int(threadIdx.x);
  const bool all_present =
      samples.locate(p, tiling, blockIdx.x >> tiling.halvings, threadIdx.y * kWarpSize + threadIdx.x);
  const PixelShare share(tiling);

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

  for (unsigned int pixel = share.first; pixel < ChannelsLastTile::kPixels; pixel += share.step) {
    if (samples.present[pixel] == kNoPixel) continue;
    if (all_present && vectors == kChunk)
      sample(pixel, lane, kMany, std::true_type{});
    else
      for (int vector = lane; vector < vectors; vector += kWarpSize)
        sample(pixel, vector, kOne, std::false_type{});
    __syncwarp();
    T* output = at_byte<T>(p.output, samples.offsets[pixel].output) + first * kVector;
    if (vectors == kChunk)  // a compile-time length, so that the loop is unrolled
      store_from_sectors(stage->of, output, kChunk * kVector, lane);
    else
      store_from_sectors(stage->of, output, vectors * kVector, lane);
    __syncwarp();
  }
}

}  // namespace pose2seg
