#pragma once

#include <cstdint>
#include <type_traits>

namespace pose2seg {

// The number of pixels along each axis that a sample is interpolated from.
enum class Interpolation { kNearest = 1, kBilinear = 2, kBicubic = 4 };

// What is read outside of the input.
enum class Padding {
  kConstant,    // one value
  kBorder,      // the nearest pixel of the input
  kReflection,  // the input, reflected at the outer edges of its first and last pixels
  kRoIAlign,    // the nearest pixel for samples within one pixel of the input, zeros for all others
};

// More samples along a side of an output pixel would take gigabytes and minutes.
constexpr int64_t kMaxSamplingRatio = 64;

// How the windows of affine_align are sampled.
struct Sampling {
  int64_t ratio;  // samples along each side of an output pixel, which are averaged; 0 is adaptive
  Interpolation interpolation;
  Padding padding;
  double fill;  // the value of Padding::kConstant

  // Whether each output pixel is one bilinear sample of the input surrounded by zeros.
  bool is_plain() const {
    return ratio == 1 && interpolation == Interpolation::kBilinear && padding == Padding::kConstant &&
           fill == 0;
  }
};

// Converts an interpolation to a template argument: body is called with an integral_constant, the number of
// pixels along each axis.
template <class Body>
void dispatch_taps(Interpolation interpolation, const Body& body) {
  switch (interpolation) {
    case Interpolation::kNearest: return body(std::integral_constant<int, 1>());
    case Interpolation::kBilinear: return body(std::integral_constant<int, 2>());
    case Interpolation::kBicubic: return body(std::integral_constant<int, 4>());
  }
}

}  // namespace pose2seg
