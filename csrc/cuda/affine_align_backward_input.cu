#include "core/affine_align_backward.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"
#include "cuda/vector.cuh"

// Computes the gradient of the input as a gather: each input pixel sums over the output pixels that have a
// tap on it, in a fixed order, so that neither atomics nor a zero fill are needed. A first pass, with one
// thread per instance, computes the footprints, about 100 bytes each. Must move: every output gradient, read
// once, and every input gradient, written once. Does move: the latter once; the former once for each of its
// four taps, which are close to each other and to those of the next output pixel, so that caches serve most
// of them; and, per block and instance, 8 bytes of index and the footprints that reach the block.

namespace pose2seg {
namespace {

using Params = AffineAlignBackwardInputParams;

constexpr int kThreads = 128;

// A rectangle of input pixels and the channels of it that one block computes.
template <class Index>
struct Tile {
  Index image, u, v, channel;
};

// Blocks are numbered by channels, then columns, rows and images. The numbers fit into 32 bits, in which
// division is fast.
template <class Index>
__device__ Tile<Index> tile_of_block(const Params& p, int tile_width, int tile_height, int tile_channels) {
  unsigned int index = blockIdx.x;
  const auto next = [&](int64_t extent, int size) {
    const auto tiles = static_cast<unsigned int>((extent + size - 1) / size);
    const unsigned int tile = index % tiles;
    index /= tiles;
    return Index(tile) * size;
  };
  const Index channel = next(p.channels, tile_channels), u = next(p.width, tile_width),
              v = next(p.height, tile_height);
  return {Index(index), u, v, channel};
}

int64_t tile_count(const Params& p, int tile_width, int tile_height, int tile_channels) {
  const auto tiles = [](int64_t extent, int size) { return (extent + size - 1) / size; };
  return p.batch * tiles(p.height, tile_height) * tiles(p.width, tile_width) *
         tiles(p.channels, tile_channels);
}

template <class T>
__global__ void __launch_bounds__(kThreads) find_footprints(const Params p) {
  const int64_t instance = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (instance < p.instances) p.find_footprint<T>(instance);
}

// Held in shared memory: those of 32 instances that have taps on a tile, in ascending order.
template <class T, class Index>
struct NearbyInstances {
  AffineFootprint<T> footprints[kWarpSize];
  Index grads[kWarpSize];  // offsets of the gradients of their windows
  int count;
};

// Called by the first warp of the block; each lane tests one instance.
template <class T, class Index>
__device__ void find_nearby(const Params& p, const Tile<Index>& tile, int tile_width, int tile_height,
                            int64_t instance, int lane, NearbyInstances<T, Index>& nearby) {
  const bool near =
      instance < p.instances && p.batch_index[instance] == tile.image &&
      p.footprint<T>(instance).overlaps(tile.u, tile.u + tile_width - 1, tile.v, tile.v + tile_height - 1);
  const unsigned int lanes = __ballot_sync(kAllLanes, near);
  const int index = __popc(lanes & ((1u << lane) - 1));
  if (near) {
    nearby.footprints[index] = p.footprint<T>(instance);
    nearby.grads[index] = Index(instance) * Index(p.output_strides[0]);
  }
  if (lane == 0) nearby.count = __popc(lanes);
}

// Calls body(footprint, offset of the gradient) for the instances near the tile, in ascending order.
template <class T, class Index, class Body>
__device__ void for_each_nearby(const Params& p, const Tile<Index>& tile, int tile_width, int tile_height,
                                int thread, const Body& body) {
  __shared__ NearbyInstances<T, Index> nearby;
  for (int64_t first = 0; first < p.instances; first += kWarpSize) {
    if (thread < kWarpSize) find_nearby(p, tile, tile_width, tile_height, first + thread, thread, nearby);
    __syncthreads();
    for (int i = 0; i < nearby.count; ++i) body(nearby.footprints[i], nearby.grads[i]);
    __syncthreads();
  }
}

// Contiguous layout: one thread per input pixel and several channels, which share the search for sources. A
// warp covers 16 x 2 pixels, whose sources are close to each other for any rotation of the window, and writes
// whole sectors.
constexpr int kPlanesWidth = 16, kPlanesHeight = 16;
constexpr int kFewPlanes = 8;  // for any number of channels; fewer may be left for the last block
template <class T>
constexpr int kManyPlanes = sizeof(T) == 8 ? 16 : 32;  // for a multiple of it

template <class T, class Index, int kPlanes>
__global__ void __launch_bounds__(kPlanesWidth* kPlanesHeight, 2) gather_planes(const Params p) {
  using Compute = accumulate_t<T>;
  const auto tile = tile_of_block<Index>(p, kPlanesWidth, kPlanesHeight, kPlanes);
  const Index u = tile.u + threadIdx.x, v = tile.v + threadIdx.y;
  const bool inside = u < p.width && v < p.height;
  const int channels =
      kPlanes == kFewPlanes ? int(min(int64_t(kPlanes), p.channels - tile.channel)) : kPlanes;
  const T* grads = static_cast<const T*>(p.grad) + tile.channel * p.output_strides[1];
  const Index plane = Index(p.output_strides[1]), line = Index(p.output_strides[2]),
              step = Index(p.output_strides[3]);
  Compute sum[kPlanes] = {};
  const int thread = threadIdx.y * kPlanesWidth + threadIdx.x;
  for_each_nearby<Compute>(p, tile, kPlanesWidth, kPlanesHeight, thread,
                           [&](const AffineFootprint<Compute>& footprint, Index grad) {
                             if (!inside || !footprint.overlaps(u, u, v, v)) return;
                             footprint.visit(u, v, [&](Index column, Index row, Compute weight) {
                               const T* value = grads + (grad + row * line + column * step);
#pragma unroll
                               for (int c = 0; c < kPlanes; ++c)
                                 if (c < channels) sum[c] += weight * Compute(value[c * plane]);
                             });
                           });
  if (!inside) return;
  T* to = static_cast<T*>(p.grad_input) + tile.image * p.input_strides[0] +
          tile.channel * p.input_strides[1] + v * p.input_strides[2] + u * p.input_strides[3];
#pragma unroll
  for (int c = 0; c < kPlanes; ++c)
    if (c < channels) to[c * p.input_strides[1]] = T(sum[c]);
}

// channels_last layout: one warp per 4 neighbouring input pixels and 256 channels, 8 per lane (4 doubles), in
// vectors of 16 bytes if strides and addresses allow it, otherwise of one element. 8 lanes per pixel test the
// candidate output pixels, 2 rows by 4 columns at a time; then all lanes add their channels of those that
// have a tap.
template <class T>
constexpr int kChannelsPerLane = sizeof(T) == 8 ? 4 : 8;
constexpr int kPixels = 4, kLanesPerPixel = kWarpSize / kPixels;  // of a warp
constexpr int kLastWidth = 2 * kPixels, kLastHeight = 4;          // of a block
constexpr int kLastWarps = kLastWidth * kLastHeight / kPixels;
constexpr int kRowsAtOnce = 2, kColumnsAtOnce = 4;
static_assert(kRowsAtOnce * kColumnsAtOnce == kLanesPerPixel);

template <class T, int kVector>
struct ChannelSums {
  using Compute = accumulate_t<T>;
  using Channels = Vector<T, kVector>;
  static constexpr int kStep = kWarpSize * kVector;  // channels between the vectors of a lane

  Compute sum[kChannelsPerLane<T>] = {};

  // `stride` is used only if vectors hold one channel.
  template <class Index>
  __device__ void add(Compute weight, const T* from, Index stride, Index channels) {
#pragma unroll
    for (int k = 0; k < kChannelsPerLane<T> / kVector; ++k) {
      if (k * kStep >= channels) break;
      const auto vector = *reinterpret_cast<const Channels*>(from + k * kStep * (kVector == 1 ? stride : 1));
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[k * kVector + i] += weight * Compute(vector.of[i]);
    }
  }

  template <class Index>
  __device__ void store(T* to, Index channels) const {
#pragma unroll
    for (int k = 0; k < kChannelsPerLane<T> / kVector; ++k) {
      if (k * kStep >= channels) break;
      Channels vector;
#pragma unroll
      for (int i = 0; i < kVector; ++i) vector.of[i] = T(sum[k * kVector + i]);
      *reinterpret_cast<Channels*>(to + k * kStep) = vector;
    }
  }
};

// Calls body(column, row, weight), in groups of lanes that share (u, v), until all candidates for a tap on it
// have been tested. All lanes of the warp call it together; the weight is 0 in those that have no tap, and in
// all that are not `active`.
template <class T, class Index, class Body>
__device__ void for_each_candidate(const AffineFootprint<T>& footprint, Index u, Index v, bool active,
                                   const Body& body) {
  const int lane = int(threadIdx.x) % kLanesPerPixel;
  Index row = 0, last_row = -1;
  if (active) footprint.rows(u, v, row, last_row);
  for (row += lane / kColumnsAtOnce; __ballot_sync(kAllLanes, row <= last_row) != 0; row += kRowsAtOnce) {
    Index column = 0, last_column = -1;
    if (row <= last_row) footprint.columns(u, v, row, column, last_column);
    for (column += lane % kColumnsAtOnce; __ballot_sync(kAllLanes, column <= last_column) != 0;
         column += kColumnsAtOnce)
      body(column, row, column <= last_column ? footprint.weight(u, v, column, row) : T(0));
  }
}

template <class T, class Index, int kVector>
__global__ void __launch_bounds__(kWarpSize* kLastWarps, 2) gather_channels_last(const Params p) {
  using Compute = accumulate_t<T>;
  const auto tile = tile_of_block<Index>(p, kLastWidth, kLastHeight, kWarpSize * kChannelsPerLane<T>);
  const int lane = int(threadIdx.x), warp = int(threadIdx.y);
  const Index first_u = tile.u + warp % 2 * kPixels, v = tile.v + warp / 2;
  const Index u = first_u + lane / kLanesPerPixel;  // of the pixel whose candidates this lane tests
  const Index channel = tile.channel + lane * kVector, channels = Index(p.channels) - channel;
  const Index stride = Index(p.output_strides[1]), line = Index(p.output_strides[2]),
              step = Index(p.output_strides[3]);
  const T* grads = static_cast<const T*>(p.grad) + channel * p.output_strides[1];
  ChannelSums<T, kVector> sums[kPixels];
  for_each_nearby<Compute>(
      p, tile, kLastWidth, kLastHeight, warp * kWarpSize + lane,
      [&](const AffineFootprint<Compute>& footprint, Index grad) {
        const bool active = u < p.width && v < p.height && footprint.overlaps(u, u, v, v);
        for_each_candidate(footprint, u, v, active, [&](Index column, Index row, Compute weight) {
          const Index offset = grad + row * line + column * step;
          const unsigned int sources = __ballot_sync(kAllLanes, weight != 0);
#pragma unroll
          for (int pixel = 0; pixel < kPixels; ++pixel) {
            constexpr unsigned int kLanes = (1u << kLanesPerPixel) - 1;
            for (unsigned int lanes = sources & kLanes << pixel * kLanesPerPixel; lanes != 0;
                 lanes &= lanes - 1) {
              const int source = __ffs(int(lanes)) - 1;
              sums[pixel].add(__shfl_sync(kAllLanes, weight, source),
                              grads + __shfl_sync(kAllLanes, offset, source), stride, channels);
            }
          }
        });
      });
  if (v >= p.height) return;
  T* to = static_cast<T*>(p.grad_input) + tile.image * p.input_strides[0] + v * p.input_strides[2] +
          first_u * p.input_strides[3] + channel;
#pragma unroll
  for (int pixel = 0; pixel < kPixels; ++pixel)
    if (first_u + pixel < p.width) sums[pixel].store(to + pixel * p.input_strides[3], channels);
}

template <class T, class Index>
void gather(const Params& p, cudaStream_t stream) {
  if (p.input_strides[1] != 1) {
    const bool many = p.channels % kManyPlanes<T> == 0;
    const auto kernel = many ? gather_planes<T, Index, kManyPlanes<T>> : gather_planes<T, Index, kFewPlanes>;
    const int64_t tiles = tile_count(p, kPlanesWidth, kPlanesHeight, many ? kManyPlanes<T> : kFewPlanes);
    launch(kernel, dim3(blocks_for(tiles, 1)), dim3(kPlanesWidth, kPlanesHeight), stream, p);
    return;
  }
  constexpr int kVector = kVectorBytes / sizeof(T);
  const bool whole_vectors = has_whole_vectors(p.grad, p.channels, p.output_strides, kVector) &&
                             has_whole_vectors(p.grad_input, p.channels, p.input_strides, kVector);
  const auto kernel =
      whole_vectors ? gather_channels_last<T, Index, kVector> : gather_channels_last<T, Index, 1>;
  const int64_t tiles = tile_count(p, kLastWidth, kLastHeight, kWarpSize * kChannelsPerLane<T>);
  launch(kernel, dim3(blocks_for(tiles, 1)), dim3(kWarpSize, kLastWarps), stream, p);
}

}  // namespace

void affine_align_backward_input_cuda(const AffineAlignBackwardInputParams& params, cudaStream_t stream) {
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    launch(find_footprints<accumulate_t<T>>, dim3(blocks_for(params.instances, kThreads)), dim3(kThreads),
           stream, params);
    dispatch_index(params.offsets_fit_int32(),
                   [&](auto index) { gather<T, decltype(index)>(params, stream); });
  });
}

}  // namespace pose2seg
