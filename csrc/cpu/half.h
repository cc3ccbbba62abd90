#pragma once

#include <bit>
#include <cstdint>

// float16 and bfloat16. Values are converted to float when they are read and rounded to nearest, ties to
// even, when they are stored. The conversions are branch-free so that loops over them are vectorised.

namespace pose2seg {

// Returns `a` if the condition holds and `b` otherwise. Of a conditional expression the compiler may make a
// branch, and then it does not vectorise the loop.
inline uint32_t select(bool condition, uint32_t a, uint32_t b) {
  const uint32_t mask = -static_cast<uint32_t>(condition);
  return (a & mask) | (b & ~mask);
}

struct Half {
  uint16_t bits = 0;

  Half() = default;
  explicit Half(float value) : bits(rounded(std::bit_cast<uint32_t>(value))) {}

  operator float() const {
    // The exponent's bias is 15 here and 127 in a float.
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
    const uint32_t shifted = static_cast<uint32_t>(bits & 0x7fff) << 13;
    const uint32_t normal = shifted + ((127 - 15) << 23);
    const uint32_t infinite = shifted + ((255 - 31) << 23);
    // A subnormal: place its bits in the fraction of 2^-14 and subtract 2^-14 again.
    constexpr uint32_t kSmallestNormal = (127 - 14) << 23;
    const float tail =
        std::bit_cast<float>(kSmallestNormal | shifted) - std::bit_cast<float>(kSmallestNormal);
    const uint32_t subnormal = std::bit_cast<uint32_t>(tail);
    const uint32_t finite = shifted < (1u << 23) ? subnormal : normal;
    return std::bit_cast<float>(sign | (shifted >= (31u << 23) ? infinite : finite));
  }

 private:
  static uint16_t rounded(uint32_t word) {
    const uint32_t sign = word >> 16 & 0x8000, magnitude = word & 0x7fffffff;
    // Adds just under half of the last bit that is kept, and exactly half if that bit is odd.
    const uint32_t normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - ((127 - 15) << 23)) >> 13;
    // The last bit of 0.5 is 2^-24, so adding a subnormal to 0.5 rounds it.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    const uint32_t subnormal = std::bit_cast<uint32_t>(sum) - std::bit_cast<uint32_t>(0.5f);
    const uint32_t finite = select(magnitude < ((127u - 14) << 23), subnormal, normal);
    const uint32_t bounded = select(magnitude >= ((127u + 16) << 23), 0x7c00, finite);
    return static_cast<uint16_t>(sign | select(magnitude > 0x7f800000, 0x7e00, bounded));
  }
};

struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  explicit BFloat16(float value) {
    const auto word = std::bit_cast<uint32_t>(value);
    const bool is_nan = (word & 0x7fffffff) > 0x7f800000;
    bits = static_cast<uint16_t>(select(is_nan, 0x7fc0, (word + 0x7fff + (word >> 16 & 1)) >> 16));
  }

  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

}  // namespace pose2seg
