#pragma once

#include <ATen/ATen.h>
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <vector>

// Arguments of the ops out of the bytes that libFuzzer makes up, and what is required of the results. Tensors
// end where their memory ends, so that AddressSanitizer sees whatever is read or written beyond.

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

  at::ScalarType dtype() { return PickValueInArray({at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}); }

  // Mostly between -14 and 14, in eighths.
  double number() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    static constexpr double kExtremes[] = {0.0,   -0.0, 1e-45, -1e-40,    1e-310,     1e-30, 1e7,
                                           -1e30, 3e38, 1e300, kInfinity, -kInfinity, NAN};
    const auto code = ConsumeIntegral<uint8_t>();
    if (code < std::size(kExtremes)) return kExtremes[code];
    if (code < 32) return std::bit_cast<float>(ConsumeIntegral<uint32_t>());
    return (code - 144) / 8.0;
  }

  // A pattern that repeats, so that few bytes make a large tensor.
  at::Tensor numbers(at::IntArrayRef sizes, at::ScalarType dtype) {
    std::vector<double> pattern(count(1, 40));
    std::generate(pattern.begin(), pattern.end(), [this] { return number(); });
    const at::Tensor tensor = at::empty(sizes, at::kDouble);
    for (int64_t i = 0; i < tensor.numel(); ++i)
      tensor.mutable_data_ptr<double>()[i] = pattern[i % pattern.size()];
    return tensor.to(dtype);
  }

  // As a camera or a template might move a person, but for the numbers that are put in.
  at::Tensor matrices(int64_t count, at::ScalarType data) {
    const at::Tensor near_identity =
        numbers({count, 2, 3}, at::kDouble) / PickValueInArray({1.0, 16.0}) + at::eye(2, 3, at::kDouble);
    return near_identity.to(geometry(data));
  }

  static at::ScalarType geometry(at::ScalarType data) {
    return data == at::kDouble ? at::kDouble : at::kFloat;
  }

  at::Tensor index(int64_t length, int64_t images) {
    const at::Tensor tensor = at::empty({length}, at::kLong);
    for (int64_t i = 0; i < length; ++i)
      tensor.mutable_data_ptr<int64_t>()[i] =
          ConsumeBool() ? count(0, images - 1)
                        : PickValueInArray<int64_t>({0, -1, images, INT64_MAX, INT64_MIN});
    return tensor;
  }

  // The same values, in memory in another way.
  at::Tensor laid_out(const at::Tensor& tensor) {
    switch (count(0, 4)) {
      case 1: return tensor.movedim(1, -1).contiguous().movedim(-1, 1);  // channels_last, of four dimensions
      case 2: return at::stack({tensor, tensor}, -1).select(-1, 1);
      case 3: return tensor.transpose(-1, -2).contiguous().transpose(-1, -2);
      case 4:
        return at::constant_pad_nd(tensor, {1, 2, 1, 0}, 77)
            .narrow(-1, 1, tensor.size(-1))
            .narrow(-2, 1, tensor.size(-2));
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
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

inline bool same(const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 0, 0, true); }

// No value is NaN or farther from zero.
inline bool within(const at::Tensor& tensor, double limit) {
  return tensor.numel() == 0 || tensor.abs().max().item<double>() <= limit;
}

}  // namespace fuzz
