#pragma once

#include "cuda/launch.cuh"

namespace pose2seg {

// The shape of the pixels of a block. The pixels of a warp form a smaller tile, kWarpColumns wide.
template <unsigned int kTileColumns, unsigned int kTileRows, unsigned int kWarpColumns>
struct TileShape {
  static constexpr unsigned int kColumns = kTileColumns, kRows = kTileRows, kPixels = kColumns * kRows;

  static __device__ unsigned int column(unsigned int pixel) {
    return pixel / kWarpSize % (kColumns / kWarpColumns) * kWarpColumns + pixel % kWarpColumns;
  }
  static __device__ unsigned int row(unsigned int pixel) {
    constexpr unsigned int kWarpRows = kWarpSize / kWarpColumns;
    return pixel / kWarpSize / (kColumns / kWarpColumns) * kWarpRows + pixel % kWarpSize / kWarpColumns;
  }
};

}  // namespace pose2seg
