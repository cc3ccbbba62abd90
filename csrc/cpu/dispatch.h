#pragma once

#include "core/dtype.h"
#include "cpu/half.h"

namespace pose2seg {

// Calls body(T{}) with the C++ type of `dtype`.
template <class Body>
void dispatch_floating(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kDouble: return body(double{});
    case DType::kHalf: return body(Half{});
    case DType::kBFloat16: return body(BFloat16{});
    default: return body(float{});
  }
}

}  // namespace pose2seg
