#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "core/convention.h"
#include "core/dtype.h"

// What the ops ask of their arguments. Each check names the argument, what was expected and what came:
// TypeError for a wrong dtype, ValueError for a wrong shape, device or value.

namespace pose2seg {

// A dense tensor. `expected` describes the shape, as in "(N, 2, 3)"; -1 in `sizes` admits any.
void check_shape(const at::Tensor& tensor, const char* name, const char* expected, at::IntArrayRef sizes);

void check_floating(const at::Tensor& tensor, const char* name);

// float32 or float64.
void check_geometry(const at::Tensor& tensor, const char* name);

// float32, or float64 beside float64 data: geometry never has fewer than 24 bits.
void check_geometry_dtype(const at::Tensor& tensor, const char* name, const at::Tensor& data,
                          const char* data_name);

void check_index(const at::Tensor& index, const char* name, int64_t instances);

// On one device, and on one that this build has kernels for.
void check_device(const at::Tensor& tensor, const char* name);
void check_same_device(const at::Tensor& tensor, const char* name, const at::Tensor& first,
                       const char* first_name);

// A positive (height, width).
void check_size(at::IntArrayRef size, const char* name);

// A tangent of forward mode, which no op has, is an error, and not lost in silence.
void check_no_tangent(const at::Tensor& tensor, const char* name);

// Nor is asking for a gradient that an op does not have a silent zero.
void check_no_gradient(const at::Tensor& tensor, const char* name, const char* op);

// One of the names that affine_align documents.
Convention parse_convention(std::string_view name);

// As torch spells it in Python, "float32".
const char* dtype_name(at::ScalarType type);

DType dtype_of(const at::Tensor& tensor);

// The same values with nothing pending: torch may leave a negation to whoever reads the memory.
at::Tensor settled(const at::Tensor& tensor);

// The same values, settled and contiguous.
at::Tensor dense(const at::Tensor& tensor);

}  // namespace pose2seg
