#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/convention.h"
#include "core/dtype.h"
#include "core/sampling.h"
#include "ops/errors.h"
#include "ops/tensor.h"

// Argument checks. The message of each names the argument, what was expected and the actual value. They throw
// TypeError for a wrong dtype, and ValueError for a wrong shape, device or value.

namespace pose2seg {

// A shape, formatted in messages as Python formats a tuple.
struct Shape {
  Sizes sizes;
};

void append(std::string& message, const Shape& shape);

// Checks that the tensor is dense and has the shape. `expected` describes the shape in the message, such as
// "(N, 2, 3)"; -1 in `sizes` matches any size.
void check_shape(const Tensor& tensor, const char* name, const char* expected,
                 std::initializer_list<int64_t> sizes);

// Checks for float32, float64, float16 or bfloat16.
void check_floating_dtype(ScalarType dtype, const char* name);
void check_floating(const Tensor& tensor, const char* name);

// Checks for float32 or float64.
void check_geometry(const Tensor& tensor, const char* name);

// Checks for float32, or for float64 if the data is float64: geometry always has at least 24 bits of
// precision.
void check_geometry_dtype(const Tensor& tensor, const char* name, const Tensor& data, const char* data_name);

void check_index(const Tensor& index, const char* name, int64_t instances);

// Checks that the tensor is on the CPU, on a GPU that this build has kernels for, or on the meta device.
void check_device(const Tensor& tensor, const char* name);
void check_same_device(const Tensor& tensor, const char* name, const Tensor& first, const char* first_name);

// Checks that the tensor is not on the meta device, for ops whose result has a data-dependent shape.
void check_has_values(const Tensor& tensor, const char* name);

// Checks for a positive (height, width).
void check_size(Sizes size, const char* name);

// Parses one of the convention names that affine_align documents.
Convention parse_convention(std::string_view name);

// Parses the arguments of affine_align for its modes.
Sampling parse_sampling(int64_t sampling_ratio, std::string_view interpolation, std::string_view padding_mode,
                        double fill);

DType dtype_of(const Tensor& tensor);

}  // namespace pose2seg
