#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "core/dtype.h"

namespace pose2seg {

// Calls body(T{}) with the C++ type of `dtype`.
template <class Body>
void dispatch_floating(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kDouble: return body(double{});
    case DType::kHalf: return body(c10::Half{});
    case DType::kBFloat16: return body(c10::BFloat16{});
    default: return body(float{});
  }
}

}  // namespace pose2seg
