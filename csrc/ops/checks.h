#pragma once

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string_view>

#include "core/convention.h"
#include "core/dtype.h"
#include "ops/errors.h"
#include "ops/tensor.h"

// What the ops ask of their arguments. Each check names the argument, what was expected and what came:
// TypeError for a wrong dtype, ValueError for a wrong shape, device or value.

namespace pose2seg {

// A shape in a message, as Python prints a tuple.
struct Shape {
  Sizes sizes;
};

std::ostream& operator<<(std::ostream& stream, const Shape& shape);

// A dense tensor. `expected` describes the shape, as in "(N, 2, 3)"; -1 in `sizes` admits any.
void check_shape(const Tensor& tensor, const char* name, const char* expected,
                 std::initializer_list<int64_t> sizes);

// float32, float64, float16 or bfloat16.
void check_floating_dtype(ScalarType dtype, const char* name);
void check_floating(const Tensor& tensor, const char* name);

// float32 or float64.
void check_geometry(const Tensor& tensor, const char* name);

// float32, or float64 beside float64 data: geometry never has fewer than 24 bits.
void check_geometry_dtype(const Tensor& tensor, const char* name, const Tensor& data, const char* data_name);

void check_index(const Tensor& index, const char* name, int64_t instances);

// On the CPU or on a GPU that this build has kernels for, or on the meta device.
void check_device(const Tensor& tensor, const char* name);
void check_same_device(const Tensor& tensor, const char* name, const Tensor& first, const char* first_name);

// Not on the meta device: what the op returns has a shape that depends on the values.
void check_has_values(const Tensor& tensor, const char* name);

// A positive (height, width).
void check_size(Sizes size, const char* name);

// One of the names that affine_align documents.
Convention parse_convention(std::string_view name);

// As torch spells it in Python, "float32".
const char* dtype_name(ScalarType type);

DType dtype_of(const Tensor& tensor);

}  // namespace pose2seg
