#pragma once

#include <cmath>
#include <cstdint>

#include "core/affine.h"
#include "core/convention.h"
#include "core/host_device.h"
#include "core/rounded.h"

namespace pose2seg {

// A 3x3 matrix: x' = (a x + b y + c) / w, y' = (d x + e y + f) / w, w = g x + h y + i.
template <class T>
struct Projective {
  T a, b, c, d, e, f, g, h, i;

  HOST_DEVICE T x(T px, T py) const { return rounded_product(a, px) + rounded_product(b, py) + c; }
  HOST_DEVICE T y(T px, T py) const { return rounded_product(d, px) + rounded_product(e, py) + f; }
  HOST_DEVICE T w(T px, T py) const { return rounded_product(g, px) + rounded_product(h, py) + i; }
};

template <class T>
HOST_DEVICE Projective<T> operator+(const Projective<T>& m, const Projective<T>& n) {
  return {m.a + n.a, m.b + n.b, m.c + n.c, m.d + n.d, m.e + n.e, m.f + n.f, m.g + n.g, m.h + n.h, m.i + n.i};
}

template <class T>
HOST_DEVICE Projective<T> operator*(const Projective<T>& m, const Projective<T>& n) {
  return {m.a * n.a + m.b * n.d + m.c * n.g, m.a * n.b + m.b * n.e + m.c * n.h,
          m.a * n.c + m.b * n.f + m.c * n.i, m.d * n.a + m.e * n.d + m.f * n.g,
          m.d * n.b + m.e * n.e + m.f * n.h, m.d * n.c + m.e * n.f + m.f * n.i,
          m.g * n.a + m.h * n.d + m.i * n.g, m.g * n.b + m.h * n.e + m.i * n.h,
          m.g * n.c + m.h * n.f + m.i * n.i};
}

template <class T>
HOST_DEVICE Projective<T> transposed(const Projective<T>& m) {
  return {m.a, m.d, m.g, m.b, m.e, m.h, m.c, m.f, m.i};
}

template <class T, class From>
HOST_DEVICE Projective<T> scaled(const Projective<From>& m, From by) {
  return {T(m.a * by), T(m.b * by), T(m.c * by), T(m.d * by), T(m.e * by),
          T(m.f * by), T(m.g * by), T(m.h * by), T(m.i * by)};
}

HOST_DEVICE Projective<double> as_projective(const Affine<double>& m) {
  return {m.a, m.b, m.c, m.d, m.e, m.f, 0, 0, 1};
}

template <class T>
HOST_DEVICE Projective<double> load_projective(const T* matrix) {
  return {double(matrix[0]), double(matrix[1]), double(matrix[2]), double(matrix[3]), double(matrix[4]),
          double(matrix[5]), double(matrix[6]), double(matrix[7]), double(matrix[8])};
}

template <class T>
HOST_DEVICE void store_projective(const Projective<double>& m, T* matrix) {
  const double entries[9] = {m.a, m.b, m.c, m.d, m.e, m.f, m.g, m.h, m.i};
  for (int k = 0; k < 9; ++k) matrix[k] = T(entries[k]);
}

template <class T>
HOST_DEVICE bool is_finite(const Projective<T>& m) {
  return is_finite(Affine<T>{m.a, m.b, m.c, m.d, m.e, m.f}) && std::isfinite(m.g) && std::isfinite(m.h) &&
         std::isfinite(m.i);
}

// The inverse of a singular matrix holds infinities and NaN.
HOST_DEVICE Projective<double> inverse(const Projective<double>& m) {
  const Projective<double> adjugate = {
      difference_of_products(m.e, m.i, m.f, m.h), difference_of_products(m.c, m.h, m.b, m.i),
      difference_of_products(m.b, m.f, m.c, m.e), difference_of_products(m.f, m.g, m.d, m.i),
      difference_of_products(m.a, m.i, m.c, m.g), difference_of_products(m.c, m.d, m.a, m.f),
      difference_of_products(m.d, m.h, m.e, m.g), difference_of_products(m.b, m.g, m.a, m.h),
      difference_of_products(m.a, m.e, m.b, m.d)};
  const double determinant = m.a * adjugate.a + m.b * adjugate.d + m.c * adjugate.g;
  return scaled<double>(adjugate, 1 / determinant);
}

// Returns `left` and `right`, with which the sampling transform of a convention is left * M^-1 * right.
struct ConventionFactors {
  Projective<double> left, right;
};

HOST_DEVICE ConventionFactors convention_factors(Convention convention, int64_t height, int64_t width) {
  const auto diagonal = [](double x, double y) { return Projective<double>{x, 0, 0, 0, y, 0, 0, 0, 1}; };
  if (convention == Convention::kHalfPixel)
    return {{1, 0, -0.5, 0, 1, -0.5, 0, 0, 1}, {1, 0, 0.5, 0, 1, 0.5, 0, 0, 1}};
  if (convention == Convention::kPose2Seg) {  // if a side has one pixel, its only coordinate is 0
    const double x = double(width - 1) / double(width), y = double(height - 1) / double(height);
    return {diagonal(x, y), diagonal(width > 1 ? 1 / x : 0.0, height > 1 ? 1 / y : 0.0)};
  }
  return {diagonal(1, 1), diagonal(1, 1)};
}

}  // namespace pose2seg
