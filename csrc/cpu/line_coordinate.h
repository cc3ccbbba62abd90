#pragma once

#include <cmath>
#include <cstdint>

namespace pose2seg {

// Returns the first t in [begin, end) for which holds(t) is true, or end if there is none. The predicate must
// be false up to some t and true from there on. The search starts at `guess`.
template <class Holds>
int64_t first_where(double guess, int64_t begin, int64_t end, const Holds& holds) {
  auto t = static_cast<int64_t>(std::fmin(std::fmax(guess, double(begin)), double(end)));
  while (t > begin && holds(t - 1)) --t;
  while (t < end && !holds(t)) ++t;
  return t;
}

// One coordinate along a row or a column of pixels, step * t + offset + shift, rounded as Affine::x and
// Affine::y round it. Each of the three operations is monotonic in t, so the t whose coordinate lies in an
// interval are consecutive.
template <class T>
struct LineCoordinate {
  T step, offset, shift;

  template <class Integer>
  T operator()(Integer t) const {
    return step * T(t) + offset + shift;
  }

  double constant() const { return double(offset) + double(shift); }
};

// Narrows [begin, end) to the t with low < coordinate(t) < high. The coordinate is about step * t +
// constant(), rounded such that it is monotonic in t.
template <class Coordinate, class T>
void narrow(const Coordinate& coordinate, T low, T high, int64_t& begin, int64_t& end) {
  const auto after_low = [&](int64_t t) { return coordinate(t) > low; };
  const auto before_high = [&](int64_t t) { return coordinate(t) < high; };
  if (begin >= end) return;
  if (coordinate.step == 0) {
    if (!(after_low(begin) && before_high(begin))) end = begin;
    return;
  }
  const double at_low = (double(low) - coordinate.constant()) / double(coordinate.step);
  const double at_high = (double(high) - coordinate.constant()) / double(coordinate.step);
  if (coordinate.step > 0) {
    begin = first_where(at_low, begin, end, after_low);
    end = first_where(at_high, begin, end, [&](int64_t t) { return !before_high(t); });
  } else {
    begin = first_where(at_high, begin, end, before_high);
    end = first_where(at_low, begin, end, [&](int64_t t) { return !after_low(t); });
  }
}

}  // namespace pose2seg
