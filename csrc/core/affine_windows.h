#pragma once

#include <cstdint>

#include "core/convention.h"
#include "core/dtype.h"
#include "core/index_width.h"

namespace pose2seg {

// The windows of affine_align: the parameters that the forward pass and both gradients have in common.
struct AffineWindows {
  const void* matrices;        // (instances, 2, 3) contiguous, float, or double with double data
  const int64_t* batch_index;  // (instances,); an instance whose index is out of range samples nothing
  int64_t batch, channels, height, width;
  int64_t instances, out_height, out_width;
  int64_t input_strides[4];   // of the input or its gradient, in elements, N, C, H, W; any layout
  int64_t output_strides[4];  // of the output or its gradient; any layout
  Convention convention;
  DType dtype;

  HOST_DEVICE bool has_image(int64_t index) const { return index >= 0 && index < batch; }

  // T is the element type of the matrices.
  template <class T>
  HOST_DEVICE Affine<double> matrix(int64_t instance) const {
    return load_affine(static_cast<const T*>(matrices) + instance * 6);
  }

  template <class T>
  HOST_DEVICE Affine<double> to_input_in_double(int64_t instance) const {
    return pose2seg::sampling_transform(matrix<T>(instance), convention, height, width);
  }

  // Returns the transform from output pixels to input coordinates.
  template <class T>
  HOST_DEVICE Affine<T> to_input(int64_t instance) const {
    return affine_cast<T>(to_input_in_double<T>(instance));
  }

  bool offsets_fit_int32() const {
    return fits_int32({batch, channels, height, width}, input_strides) &&
           fits_int32({instances, channels, out_height, out_width}, output_strides) &&
           sides_fit_int32({channels, height, width, out_height, out_width});
  }
};

}  // namespace pose2seg
