#pragma once

#include <type_traits>

#include "cuda/affine_align_tile.cuh"
#include "cuda/vector.cuh"

// The kernel of affine_align for contiguous tensors, and for any other strides.
//
// A block computes 16 x 8 output pixels of an instance in up to 128 planes, a thread one pixel in up to 64.
// A warp covers a tile of pixels that is one 32-byte sector of the output wide, so that its stores fill whole
// sectors, and otherwise as compact as possible (8 x 4 floats), so that it touches few sectors of the input
// for any rotation of the window.
//
// A thread processes four planes at a time. It loads all 16 values, with two additions per plane for their
// addresses, and then interpolates and stores them. Loads are unconditional if all taps of the tile lie
// inside the input.

namespace pose2seg {

template <class T>
using PlanesTile = TileShape<16, 8, kSectorBytes / sizeof(T)>;

constexpr int kPlanesPerThread = 64;
constexpr unsigned int kMaxPlaneGroups = 2;  // threads per pixel

template <class T>
constexpr int kPlanesAtOnce = 16 / sizeof(accumulate_t<T>);

// Strides in elements: from a left tap to the right one, and from plane to plane.
struct PlaneSteps {
  int64_t right, input, output;
};

// The pixel of a thread in its next plane: the left taps of both rows, and the output.
template <class T>
struct PlanePosition {
  const T *upper, *lower;
  T* output;

  __device__ void skip(int planes, const PlaneSteps& steps) {
    upper += planes * steps.input;
    lower += planes * steps.input;
    output += planes * steps.output;
  }
};

// Samples `planes` planes, a multiple of kAtOnce.
template <int kAtOnce, bool kAllPresent, class T>
__device__ void sample_planes(PlanePosition<T> at, int planes, const PlaneSteps& steps,
                              const TapWeights<accumulate_t<T>>& weights, int present) {
  using Compute = accumulate_t<T>;
  const auto value = [&](const T* address, Tap tap) {
    return kAllPresent || (present & 1 << tap) ? Compute(*address) : Compute(0);
  };
  for (; planes > 0; planes -= kAtOnce) {
    Compute values[kAtOnce][kTaps];
    for (auto& taps : values) {
      taps[kUpperLeft] = value(at.upper, kUpperLeft);
      taps[kUpperRight] = value(at.upper + steps.right, kUpperRight);
      taps[kLowerLeft] = value(at.lower, kLowerLeft);
      taps[kLowerRight] = value(at.lower + steps.right, kLowerRight);
      at.upper += steps.input;
      at.lower += steps.input;
    }
    for (const auto& taps : values) {
      *at.output = T(weights.interpolate(taps));
      at.output += steps.output;
    }
  }
}

// blockDim is (pixels, groups of planes). kAdjacent: the column stride of the input is 1, so that right taps
// need no address of their own.
template <class T, class Index, bool kAdjacent>
__global__ void __launch_bounds__(PlanesTile<T>::kPixels* kMaxPlaneGroups, 3)
    align_planes(const AffineAlignParams p, const Tiling tiling) {
  using Compute = accumulate_t<T>;
  __shared__ TileSamples<Compute, T, Index, PlanesTile<T>> samples;
  const unsigned int pixel = threadIdx.x;
  const bool all_present =
      samples.locate(p, tiling, blockIdx.x, threadIdx.y * PlanesTile<T>::kPixels + pixel);
  const int present = samples.present[pixel];
  const int per_thread = kPlanesPerThread >> tiling.halvings;
  const int64_t first = (group_of_block() * blockDim.y + threadIdx.y) * per_thread;
  if (present == kNoPixel || first >= p.channels) return;

  const PlaneSteps steps = {kAdjacent ? 1 : p.input_strides[3], p.input_strides[1], p.output_strides[1]};
  const TapWeights<Compute> weights = samples.weights[pixel];
  const PixelOffsets offsets = samples.offsets[pixel];
  const T* upper = at_byte<T>(p.input, offsets.input) + first * steps.input;
  T* output = at_byte<T>(p.output, offsets.output) + first * steps.output;
  const int64_t rest = p.channels - first;
  const int planes = rest < per_thread ? int(rest) : per_thread, odd = planes % kPlanesAtOnce<T>;
  const auto sample = [&](auto all) {
    PlanePosition<T> at = {upper, upper + p.input_strides[2], output};
    sample_planes<kPlanesAtOnce<T>, decltype(all)::value>(at, planes - odd, steps, weights, present);
    at.skip(planes - odd, steps);
    sample_planes<1, decltype(all)::value>(at, odd, steps, weights, present);
  };
  if (all_present)
    sample(std::true_type{});
  else
    sample(std::false_type{});
}

}  // namespace pose2seg
