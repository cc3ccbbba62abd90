#pragma once

namespace pose2seg {

// The element types of the ops, without torch; each backend maps them to its own C++ types.
enum class DType { kFloat, kDouble, kHalf, kBFloat16 };

// Coordinates and sums: double for double data, float for everything else.
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
