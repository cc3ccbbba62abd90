#pragma once

#include <cstdint>

#include "core/affine_footprint.h"
#include "core/affine_windows.h"

struct CUstream_st;

namespace pose2seg {

struct AffineAlignBackwardInputParams : AffineWindows {
  const void* grad;  // (instances, channels, out_height, out_width)
  void* grad_input;  // (batch, channels, height, width), contiguous or channels_last

  // Scratch memory that the first CUDA pass writes and the second reads.
  void* footprints;  // (instances,) AffineFootprint

  // Performs the first pass for one instance.
  template <class T>
  HOST_DEVICE void find_footprint(int64_t instance) const {
    static_cast<AffineFootprint<T>*>(footprints)[instance] =
        affine_footprint(to_input<T>(instance), height, width, out_height, out_width);
  }

  template <class T>
  HOST_DEVICE const AffineFootprint<T>& footprint(int64_t instance) const {
    return static_cast<const AffineFootprint<T>*>(footprints)[instance];
  }
};

struct AffineAlignBackwardMatricesParams : AffineWindows {
  const void* grad;     // (instances, channels, out_height, out_width)
  const void* input;    // (batch, channels, height, width)
  void* grad_matrices;  // (instances, 2, 3) contiguous

  // Scratch memory that the first CUDA pass writes and the second reads.
  Affine<double>* parts;  // (instances, tiles): gradients of the sampling transform
};

// The tiles of output pixels that the first CUDA pass reduces.
constexpr int kGradientTileColumns = 16, kGradientTileRows = 4;

inline int64_t gradient_tiles(int64_t out_height, int64_t out_width) {
  return ((out_height - 1) / kGradientTileRows + 1) * ((out_width - 1) / kGradientTileColumns + 1);
}

template <class T>
HOST_DEVICE void store_matrix_gradient(const AffineAlignBackwardMatricesParams& p, int64_t instance,
                                       const Affine<double>& transform_gradient) {
  const Affine<double> m =
      sampling_transform_gradient(p.matrix<T>(instance), transform_gradient, p.convention, p.height, p.width);
  store_affine(m, static_cast<T*>(p.grad_matrices) + instance * 6);
}

void affine_align_backward_input_cpu(const AffineAlignBackwardInputParams& params);
void affine_align_backward_input_cuda(const AffineAlignBackwardInputParams& params, CUstream_st* stream);
void affine_align_backward_matrices_cpu(const AffineAlignBackwardMatricesParams& params);
void affine_align_backward_matrices_cuda(const AffineAlignBackwardMatricesParams& params,
                                         CUstream_st* stream);

}  // namespace pose2seg
