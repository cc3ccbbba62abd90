#pragma once

#include <initializer_list>

#include "ops/runtime.h"
#include "ops/tensor.h"

namespace pose2seg {

// Returns `*out` after a check that it can hold the result, or a new tensor if `out` is null.
Tensor output_tensor(const Tensor* out, std::initializer_list<int64_t> sizes, ScalarType dtype,
                     const Device& device, Layout layout = Layout::kContiguous);

// Checks that writing to `out` does not change `argument`.
void check_no_overlap(const Tensor& out, const Tensor& argument);

}  // namespace pose2seg
