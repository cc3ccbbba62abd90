#pragma once

#include <cstdint>

#include "core/affine_footprint.h"
#include "core/convention.h"
#include "core/dtype.h"
#include "core/index_width.h"

struct CUstream_st;

namespace pose2seg {

// What both gradients need of the forward pass. Gradients of the output have its shape and any strides.
struct AffineAlignBackward {
  const void* grad;            // (instances, channels, out_height, out_width), any strides
  const void* matrices;        // (instances, 2, 3) contiguous, float, or double with double data
  const int64_t* batch_index;  // (instances,); an instance whose index is out of range has no part
  int64_t batch, channels, height, width;
  int64_t instances, out_height, out_width;
  int64_t grad_strides[4];  // in elements: N, C, H, W
  Convention convention;
  DType dtype;

  template <class T>
  HOST_DEVICE Affine<double> matrix(int64_t instance) const {
    return load_affine(static_cast<const T*>(matrices) + instance * 6);
  }

  // Rounded as in the forward pass, so that both agree on the taps.
  template <class T>
  HOST_DEVICE Affine<T> to_input(int64_t instance) const {
    return affine_cast<T>(sampling_transform(matrix<T>(instance), convention, height, width));
  }

  // Whether 32 bits hold every offset in the gradient and in another tensor that has the input's shape.
  bool offsets_fit_int32(const int64_t (&input_strides)[4]) const {
    return fits_int32({instances, channels, out_height, out_width}, grad_strides) &&
           fits_int32({batch, channels, height, width}, input_strides) &&
           sides_fit_int32({channels, height, width, out_height, out_width});
  }
};

struct AffineAlignBackwardInputParams : AffineAlignBackward {
  void* grad_input;               // (batch, channels, height, width), contiguous or channels_last
  int64_t grad_input_strides[4];  // in elements: N, C, H, W

  // Scratch of the CUDA kernels, from the first pass to the second.
  void* footprints;  // (instances,) AffineFootprint

  // The first pass, one instance.
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

struct AffineAlignBackwardMatricesParams : AffineAlignBackward {
  const void* input;         // (batch, channels, height, width), any strides
  int64_t input_strides[4];  // in elements: N, C, H, W
  void* grad_matrices;       // (instances, 2, 3) contiguous

  // Scratch of the CUDA kernels, from the first pass to the second.
  Affine<double>* parts;  // (instances, tiles): gradients of the sampling transform
};

// The tiles of output pixels that the first pass sums in CUDA.
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
