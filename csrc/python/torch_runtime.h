#pragma once

#include <pybind11/pybind11.h>

#include <optional>

#include "ops/tensor.h"

// torch as the extension reaches it: through Python, the table of C functions that DLPack 1.3 defines, and
// the C functions of libtorch_cpu. None depends on the release of torch or on its C++ headers.

namespace pose2seg {

// Finds what is needed in the torch that Python has imported. Called once, before any op.
void initialize_torch(const pybind11::module_& torch);

// Whether `object` is exactly a torch.Tensor or a torch.nn.Parameter. Any other subclass may have no memory,
// or may want to see the operator.
bool is_plain_tensor(pybind11::handle object);

// A view of a plain tensor, with the lazy negation bit resolved. The caller keeps `object` alive.
Tensor view(pybind11::handle object);

// The ScalarType of a torch.dtype, or nothing for an object of another type.
std::optional<ScalarType> scalar_type(pybind11::handle dtype);

// The torch.Tensor that a Tensor is a view of.
pybind11::object to_python(const Tensor& tensor);

}  // namespace pose2seg
