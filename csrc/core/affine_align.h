#pragma once

#include <cstdint>

#include "core/convention.h"
#include "core/dtype.h"
#include "core/index_width.h"

struct CUstream_st;

namespace pose2seg {

struct AffineAlignParams {
  const void* input;           // (batch, channels, height, width), any strides
  const void* matrices;        // (instances, 2, 3) contiguous, float, or double with double data
  const int64_t* batch_index;  // (instances,); an instance whose index is out of range gets zeros
  void* output;                // (instances, channels, out_height, out_width), any strides
  int64_t batch, channels, height, width;
  int64_t instances, out_height, out_width;
  int64_t input_strides[4], output_strides[4];  // in elements: N, C, H, W
  Convention convention;
  DType dtype;
};

inline bool offsets_fit_int32(const AffineAlignParams& p) {
  return fits_int32({p.batch, p.channels, p.height, p.width}, p.input_strides) &&
         fits_int32({p.instances, p.channels, p.out_height, p.out_width}, p.output_strides);
}

void affine_align_cpu(const AffineAlignParams& params);
void affine_align_cuda(const AffineAlignParams& params, CUstream_st* stream);

}  // namespace pose2seg
