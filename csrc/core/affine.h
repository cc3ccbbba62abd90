#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"
#include "core/rounded.h"

namespace pose2seg {

// A 2x3 matrix: x' = a x + b y + c, y' = d x + e y + f. All kernels compute the same bits, so that the
// forward pass and the gradients find the same taps.
template <class T>
struct Affine {
  T a, b, c, d, e, f;

  HOST_DEVICE T x(T px, T py) const { return rounded_product(a, px) + rounded_product(b, py) + c; }
  HOST_DEVICE T y(T px, T py) const { return rounded_product(d, px) + rounded_product(e, py) + f; }
};

template <class T>
HOST_DEVICE Affine<T> operator+(const Affine<T>& m, const Affine<T>& n) {
  return {m.a + n.a, m.b + n.b, m.c + n.c, m.d + n.d, m.e + n.e, m.f + n.f};
}

template <class T>
HOST_DEVICE Affine<double> load_affine(const T* matrix) {
  return {double(matrix[0]), double(matrix[1]), double(matrix[2]),
          double(matrix[3]), double(matrix[4]), double(matrix[5])};
}

template <class T, class From>
HOST_DEVICE void store_affine(const Affine<From>& m, T* matrix) {
  const From entries[6] = {m.a, m.b, m.c, m.d, m.e, m.f};
  for (int i = 0; i < 6; ++i) matrix[i] = T(entries[i]);
}

// Computes p q - r s such that the result is exactly 0 on every device whenever the exact value is 0.
HOST_DEVICE double difference_of_products(double p, double q, double r, double s) {
  const double rs = r * s;
  return fma(p, q, -rs) + fma(-r, s, rs);
}

HOST_DEVICE double determinant(const Affine<double>& m) { return difference_of_products(m.a, m.e, m.b, m.d); }

// Returns 1, or a power of two that scales a very large or very small row such that products of its entries
// neither overflow nor underflow in double.
HOST_DEVICE double row_scale(double a, double b) {
  const double largest = std::fmax(std::fabs(a), std::fabs(b));
  return largest > 0x1p400 ? 0x1p-600 : largest < 0x1p-400 ? 0x1p600 : 1.0;
}

// The inverse of a singular matrix holds infinities and NaN, which no bounds check accepts.
HOST_DEVICE Affine<double> inverse(const Affine<double>& matrix) {
  const double first = row_scale(matrix.a, matrix.b), second = row_scale(matrix.d, matrix.e);
  const Affine<double> m = {matrix.a * first,  matrix.b * first,  matrix.c * first,
                            matrix.d * second, matrix.e * second, matrix.f * second};
  const double scale = 1.0 / determinant(m);
  return {m.e * scale * first,  -m.b * scale * second, difference_of_products(m.b, m.f, m.c, m.e) * scale,
          -m.d * scale * first, m.a * scale * second,  difference_of_products(m.c, m.d, m.a, m.f) * scale};
}

// Computes dL/dm from dL/d(m^-1). The inverse must be finite.
HOST_DEVICE Affine<double> inverse_gradient(const Affine<double>& inverse, const Affine<double>& grad) {
  const Affine<double>&k = inverse, &g = grad;
  // d(m^-1) = -m^-1 dm m^-1, with a third row (0, 0, 1) in m.
  const Affine<double> p = {g.a * k.a + g.b * k.b + g.c * k.c, g.a * k.d + g.b * k.e + g.c * k.f, g.c,
                            g.d * k.a + g.e * k.b + g.f * k.c, g.d * k.d + g.e * k.e + g.f * k.f, g.f};
  return {-(k.a * p.a + k.d * p.d), -(k.a * p.b + k.d * p.e), -(k.a * p.c + k.d * p.f),
          -(k.b * p.a + k.e * p.d), -(k.b * p.b + k.e * p.e), -(k.b * p.c + k.e * p.f)};
}

template <class T>
HOST_DEVICE bool is_finite(const Affine<T>& m) {
  return std::isfinite(m.a) && std::isfinite(m.b) && std::isfinite(m.c) && std::isfinite(m.d) &&
         std::isfinite(m.e) && std::isfinite(m.f);
}

template <class T, class From>
HOST_DEVICE Affine<T> affine_cast(const Affine<From>& m) {
  return {T(m.a), T(m.b), T(m.c), T(m.d), T(m.e), T(m.f)};
}

}  // namespace pose2seg
