#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/dtype.h"

namespace pose2seg {

// Calls body(T{}) with the CUDA C++ type of `dtype`.
template <class Body>
void dispatch_floating(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kDouble: return body(double{});
    case DType::kHalf: return body(__half{});
    case DType::kBFloat16: return body(__nv_bfloat16{});
    default: return body(float{});
  }
}

}  // namespace pose2seg
