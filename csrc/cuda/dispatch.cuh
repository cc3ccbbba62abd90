#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "core/dtype.h"

// Converts runtime values to template arguments: body is called with a value of the selected type.

namespace pose2seg {

// Calls body(T{}) with the CUDA C++ type of `dtype`. dispatch_floating in cpu/ is its counterpart for the
// CPU.
template <class Body>
void dispatch_cuda_floating(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kDouble: return body(double{});
    case DType::kHalf: return body(__half{});
    case DType::kBFloat16: return body(__nv_bfloat16{});
    default: return body(float{});
  }
}

// Calls body(Index{}) with the integer type of offsets into tensors.
template <class Body>
void dispatch_index(bool fits_int32, const Body& body) {
  return fits_int32 ? body(int32_t{}) : body(int64_t{});
}

}  // namespace pose2seg
