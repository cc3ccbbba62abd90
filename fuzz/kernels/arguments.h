#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <vector>

#include "tensors.h"

// Generates arguments of the ops from the bytes of libFuzzer, and checks conditions on the results.

namespace fuzz {

class Arguments : public FuzzedDataProvider {
 public:
  using FuzzedDataProvider::FuzzedDataProvider;

  int64_t count(int64_t least, int64_t most) { return ConsumeIntegralInRange<int64_t>(least, most); }

  template <size_t n>
  const char* one_of(const char* const (&names)[n]) {
    return PickValueInArray(names);
  }

  const char* convention() { return one_of({"integer", "half_pixel", "pose2seg"}); }

  ScalarType dtype() { return PickValueInArray({kFloat, kDouble, kHalf, kBFloat16}); }

  // Returns a number, mostly between -14 and 14, in eighths.
  double number() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    static constexpr double kExtremes[] = {0.0,   -0.0, 1e-45, -1e-40,    1e-310,     1e-30, 1e7,
                                           -1e30, 3e38, 1e300, kInfinity, -kInfinity, NAN};
    const auto code = ConsumeIntegral<uint8_t>();
    if (code < std::size(kExtremes)) return kExtremes[code];
    if (code < 32) return std::bit_cast<float>(ConsumeIntegral<uint32_t>());
    return (code - 144) / 8.0;
  }

  std::vector<double> pattern() {
    std::vector<double> numbers(count(1, 40));
    std::generate(numbers.begin(), numbers.end(), [this] { return number(); });
    return numbers;
  }

  // Returns a repeating pattern, so that few bytes make a large tensor.
  Tensor numbers(const Shape& sizes, ScalarType dtype) {
    const std::vector<double> repeated = pattern();
    return make(sizes, dtype, [&](int64_t i) { return repeated[i % repeated.size()]; });
  }

  // Returns plausible transforms of a person, except for the inserted extreme numbers.
  Tensor matrices(int64_t count, ScalarType data) {
    constexpr double kIdentity[] = {1, 0, 0, 0, 1, 0};
    const std::vector<double> repeated = pattern();
    const double divisor = PickValueInArray({1.0, 16.0});
    return make({count, 2, 3}, geometry(data),
                [&](int64_t i) { return repeated[i % repeated.size()] / divisor + kIdentity[i % 6]; });
  }

  static ScalarType geometry(ScalarType data) { return data == kDouble ? kDouble : kFloat; }

  Tensor index(int64_t length, int64_t images) {
    return make({length}, kLong, [&](int64_t) {
      return ConsumeBool() ? count(0, images - 1)
                           : PickValueInArray<int64_t>({0, -1, images, INT64_MAX, INT64_MIN});
    });
  }

  // Returns the same values in another memory layout.
  Tensor laid_out(const Tensor& tensor) {
    const int64_t last = tensor.dim() - 1;
    Shape sizes = to_vector(tensor.sizes());
    switch (count(0, 4)) {
      case 1:  // channels_last, of four dimensions
        return move_dimension(contiguous(move_dimension(tensor, 1, last)), last, 1);
      case 2:  // every second element
        sizes.push_back(2);
        return copied(tensor, select(empty(sizes, tensor.dtype), last + 1, 1));
      case 3:  // column by column
        return move_dimension(contiguous(move_dimension(tensor, last, last - 1)), last, last - 1);
      case 4: {  // part of larger maps
        sizes[last] += 3;
        sizes[last - 1] += 1;
        const Tensor rows = narrow(empty(sizes, tensor.dtype), last - 1, 1, tensor.size(last - 1));
        return copied(tensor, narrow(rows, last, 1, tensor.size(last)));
      }
      default: return tensor;
    }
  }

  std::vector<int64_t> limbs(int64_t joints) {
    std::vector<int64_t> pairs(joints > 0 ? 2 * count(0, 4) : 0);
    for (int64_t& joint : pairs) joint = count(0, joints - 1);
    return pairs;
  }
};

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

}  // namespace fuzz
