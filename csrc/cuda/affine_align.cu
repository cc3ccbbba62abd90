#include <algorithm>

#include "core/affine_align.h"
#include "cuda/affine_align_channels_last.cuh"
#include "cuda/affine_align_planes.cuh"
#include "cuda/affine_align_staged.cuh"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

// Must move: the input under the windows, read once, and the output, written once. Does move: the output
// once, and the four taps of every pixel and channel, most of which neighbouring pixels share in the L1
// cache. A block computes a tile of output pixels of one instance; grid.x counts the tiles, grid.y the groups
// of channels. Each memory layout has its own kernel, explained in its file. docs/kernels.md counts what they
// move.

namespace pose2seg {
namespace {

constexpr unsigned int kMaxGridY = 65535;

int64_t tiles_of(const AffineAlignParams& p, const Tiling& tiling) {
  return p.instances * tiling.down * tiling.across;
}

template <class Shape>
Tiling tiling_of(const AffineAlignParams& p) {
  return {blocks_for(p.out_width, Shape::kColumns), blocks_for(p.out_height, Shape::kRows), 0};
}

dim3 grid_of(int64_t blocks, unsigned int groups) {
  const unsigned int y = std::min(groups, kMaxGridY);
  return dim3(blocks_for(blocks, 1), y, blocks_for(groups, y));
}

// `groups` is the number of groups of channels. Divides the tiles among more blocks if there are few, but
// gives each group of lanes, of which a block has `pixels_at_once`, at least one pixel.
dim3 grid_of_parts(const AffineAlignParams& p, Tiling& tiling, unsigned int groups,
                   unsigned int pixels_at_once) {
  const int64_t tiles = tiles_of(p, tiling);
  while ((tiles * groups << tiling.halvings) < kEnoughBlocks &&
         pixels_at_once << tiling.halvings < ChannelsLastTile::kPixels)
    ++tiling.halvings;
  return grid_of(tiles << tiling.halvings, groups);
}

template <class T, class Index, bool kAdjacent>
void launch_planes(const AffineAlignParams& p, cudaStream_t stream) {
  Tiling tiling = tiling_of<PlanesTile<T>>(p);
  const int64_t tiles = tiles_of(p, tiling);
  const auto threads_per_pixel = [&] { return blocks_for(p.channels, kPlanesPerThread >> tiling.halvings); };
  const auto groups = [&] { return blocks_for(threads_per_pixel(), kMaxPlaneGroups); };
  while (tiles * groups() < kEnoughBlocks && kPlanesPerThread >> tiling.halvings > kPlanesAtOnce<T>)
    ++tiling.halvings;
  const dim3 block(PlanesTile<T>::kPixels, std::min(threads_per_pixel(), kMaxPlaneGroups));
  launch(align_planes<T, Index, kAdjacent>, grid_of(tiles, groups()), block, stream, p, tiling);
}

template <class T, class Index, int kVector>
void launch_channels_last(const AffineAlignParams& params, cudaStream_t stream) {
  AffineAlignParams p = params;  // channels and strides in vectors
  p.channels /= kVector;
  for (const int dimension : {0, 2, 3}) {
    p.input_strides[dimension] /= kVector;
    p.output_strides[dimension] /= kVector;
  }
  unsigned int lanes = 1;
  while (lanes < kWarpSize && lanes < p.channels) lanes *= 2;
  const dim3 block(lanes, std::min(kChannelsLastThreads / lanes, ChannelsLastTile::kPixels));
  Tiling tiling = tiling_of<ChannelsLastTile>(p);
  const unsigned int groups = blocks_for(p.channels, kVectorsPerLane<kVector> * kWarpSize);
  const dim3 grid = grid_of_parts(p, tiling, groups, block.y);
  launch(align_channels_last<T, Index, kVector>, grid, block, stream, p, tiling);
}

template <class T, class Index, int kVector>
void launch_staged(const AffineAlignParams& p, cudaStream_t stream) {
  Tiling tiling = tiling_of<ChannelsLastTile>(p);
  const unsigned int groups = blocks_for(p.channels, kVectorsPerLane<kVector> * kWarpSize * kVector);
  const dim3 grid = grid_of_parts(p, tiling, groups, kStagingWarps);
  launch(align_staged<T, Index, kVector>, grid, dim3(kWarpSize, kStagingWarps), stream, p, tiling);
}

}  // namespace

void affine_align_cuda(const AffineAlignParams& params, cudaStream_t stream) {
  const bool channels_last = params.input_strides[1] == 1 && params.output_strides[1] == 1;
  dispatch_cuda_floating(params.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kVector = kVectorBytes / sizeof(T);
    const bool whole_input = has_whole_vectors(params.input, params.channels, params.input_strides, kVector);
    const bool whole_output =
        has_whole_vectors(params.output, params.channels, params.output_strides, kVector);
    dispatch_index(params.offsets_fit_int32(), [&](auto index) {
      using Index = decltype(index);
      if (channels_last && whole_input && whole_output)
        launch_channels_last<T, Index, kVector>(params, stream);
      else if (channels_last && whole_input && params.channels >= kWarpSize * kVector)
        launch_staged<T, Index, kVector>(params, stream);
      else if (channels_last)
        launch_channels_last<T, Index, 1>(params, stream);
      else if (params.input_strides[3] == 1)
        launch_planes<T, Index, true>(params, stream);
      else
        launch_planes<T, Index, false>(params, stream);
    });
  });
}

}  // namespace pose2seg
