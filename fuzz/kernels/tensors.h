#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "cpu/half.h"
#include "ops/runtime.h"

// Creates, views and reads tensors in plain memory, which ../runtime.cpp allocates.

namespace fuzz {

using pose2seg::ScalarType;
using pose2seg::Tensor;
using enum pose2seg::ScalarType;

using Shape = std::vector<int64_t>;

inline Tensor empty(const Shape& sizes, ScalarType dtype) {
  return pose2seg::empty(sizes, dtype, {pose2seg::DeviceType::kCpu, 0});
}

// Returns a view of `base`, whose memory it keeps alive. `offset` and `strides` are in elements.
inline Tensor view(const Tensor& base, int64_t offset, Shape sizes, Shape strides) {
  struct Owner {
    Shape sizes, strides;
    std::shared_ptr<void> memory;
  };
  const std::shared_ptr<Owner> owner(new Owner{std::move(sizes), std::move(strides), base.object});
  Tensor tensor = base;
  tensor.sizes_begin = owner->sizes.data();
  tensor.strides_begin = owner->strides.data();
  tensor.dimensions = static_cast<int32_t>(owner->sizes.size());
  tensor.object = owner;
  // As in torch, an empty tensor has no memory.
  tensor.data = tensor.numel() == 0 ? nullptr : base.mutable_data<char>() + offset * element_size(base.dtype);
  return tensor;
}

inline Shape to_vector(pose2seg::Sizes items) { return {items.begin(), items.end()}; }

// Returns the indices [start, start + length) of one dimension.
inline Tensor narrow(const Tensor& tensor, int64_t dimension, int64_t start, int64_t length) {
  Shape sizes = to_vector(tensor.sizes());
  sizes[dimension] = length;
  return view(tensor, start * tensor.stride(dimension), std::move(sizes), to_vector(tensor.strides()));
}

// Selects one index of a dimension, which the result lacks.
inline Tensor select(const Tensor& tensor, int64_t dimension, int64_t index) {
  Shape sizes = to_vector(tensor.sizes()), strides = to_vector(tensor.strides());
  sizes.erase(sizes.begin() + dimension);
  strides.erase(strides.begin() + dimension);
  return view(tensor, index * tensor.stride(dimension), std::move(sizes), std::move(strides));
}

// Moves the dimension `from` to `to`; the others keep their order.
inline Tensor move_dimension(const Tensor& tensor, int64_t from, int64_t to) {
  Shape sizes = to_vector(tensor.sizes()), strides = to_vector(tensor.strides());
  for (Shape* items : {&sizes, &strides}) {
    const int64_t moved = (*items)[from];
    items->erase(items->begin() + from);
    items->insert(items->begin() + to, moved);
  }
  return view(tensor, 0, std::move(sizes), std::move(strides));
}

// Returns the offsets of the elements in memory, in elements; the last index varies fastest.
inline std::vector<int64_t> offsets(const Tensor& tensor) {
  std::vector<int64_t> result(tensor.numel());
  Shape index(tensor.dim());
  int64_t offset = 0;
  for (int64_t& each : result) {
    each = offset;
    for (int64_t d = tensor.dim() - 1; d >= 0; --d) {
      offset += tensor.stride(d);
      if (++index[d] < tensor.size(d)) break;
      offset -= tensor.size(d) * tensor.stride(d);
      index[d] = 0;
    }
  }
  return result;
}

// Calls body(T{}) with the C++ type of `dtype`.
template <class Body>
void with_element_type(ScalarType dtype, const Body& body) {
  switch (dtype) {
    case kFloat: return body(float{});
    case kDouble: return body(double{});
    case kHalf: return body(pose2seg::Half{});
    case kBFloat16: return body(pose2seg::BFloat16{});
    case kByte: return body(uint8_t{});
    case kBool: return body(bool{});
    case kLong: return body(int64_t{});
    default: std::abort();
  }
}

// Returns a new tensor with elements value(0), value(1), ...; the last index varies fastest.
template <class Value>
Tensor make(const Shape& sizes, ScalarType dtype, const Value& value) {
  const Tensor tensor = empty(sizes, dtype);
  with_element_type(dtype, [&]<class T>(T) {
    for (int64_t i = 0, count = tensor.numel(); i < count; ++i)
      tensor.mutable_data<T>()[i] = static_cast<T>(value(i));
  });
  return tensor;
}

// Returns all elements; the last index varies fastest.
inline std::vector<double> values(const Tensor& tensor) {
  std::vector<double> result;
  with_element_type(tensor.dtype, [&]<class T>(T) {
    for (const int64_t offset : offsets(tensor))
      result.push_back(static_cast<double>(tensor.const_data<T>()[offset]));
  });
  return result;
}

// Copies the elements of `from` to `to`, of the same shape and dtype, and returns it.
inline Tensor copied(const Tensor& from, const Tensor& to) {
  const int64_t size = element_size(from.dtype);
  const std::vector<int64_t> sources = offsets(from), targets = offsets(to);
  for (size_t i = 0; i < sources.size(); ++i)
    std::memcpy(to.mutable_data<char>() + targets[i] * size, from.const_data<char>() + sources[i] * size,
                size);
  return to;
}

// Whether shapes, dtypes and values are equal. NaN equals NaN.
inline bool same(const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype || to_vector(a.sizes()) != to_vector(b.sizes())) return false;
  const std::vector<double> left = values(a), right = values(b);
  return std::equal(left.begin(), left.end(), right.begin(),
                    [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

// Returns the largest magnitude of the values, or NaN if one is NaN.
inline double largest(const Tensor& tensor) {
  double result = 0;
  for (const double value : values(tensor)) {
    if (std::isnan(value)) return value;
    result = std::max(result, std::abs(value));
  }
  return result;
}

// Whether no value is NaN or has a larger magnitude than the bound.
inline bool within(const Tensor& tensor, double limit) { return largest(tensor) <= limit; }

}  // namespace fuzz
