#pragma once

#include <pybind11/cast.h>

#include <optional>

#include "ops/tensor.h"

// The interface of the extension to torch: Python, the table of C functions that DLPack 1.3 defines, and
// functions that are looked up by name in the libraries of torch, each with a fallback through Python. No C++
// header of torch is needed, and no particular release.

namespace pose2seg {

// Looks up what is needed in the torch that Python has imported. Must be called once, before any op.
void initialize_torch(const pybind11::object& torch);

// Whether `object` is exactly a torch.Tensor or a torch.nn.Parameter. Other subclasses may have no memory, or
// may override the operator.
bool is_plain_tensor(pybind11::handle object);

// Returns a view of a plain tensor, with the lazy negation bit resolved. The caller keeps `object` alive.
Tensor view(pybind11::handle object);

// Returns the ScalarType of a torch.dtype, or nothing for an object of another type.
std::optional<ScalarType> scalar_type(pybind11::handle dtype);

// Returns the torch.Tensor that a Tensor is a view of.
pybind11::object to_python(const Tensor& tensor);

}  // namespace pose2seg
