#pragma once

namespace pose2seg {

// The floating-point element types of the ops, independent of torch. Each backend maps them to its own C++
// types.
enum class DType { kFloat, kDouble, kHalf, kBFloat16 };

// The type of coordinates and sums: double for double data, float for everything else.
template <class T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <class T>
using accumulate_t = typename Accumulate<T>::type;

}  // namespace pose2seg
