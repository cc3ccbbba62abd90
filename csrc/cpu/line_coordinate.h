#pragma once

#include <cmath>
#include <cstdint>

namespace pose2seg {

// The first t in [begin, end) with holds(t), for a predicate that is false up to some t and true from there
// on; end if there is none. Looks around `guess`.
template <class Holds>
int64_t first_where(double guess, int64_t begin, int64_t end, const Holds& holds) {
  auto t = static_cast<int64_t>(std::fmin(std::fmax(guess, double(begin)), double(end)));
  while (t > begin && holds(t - 1)) --t;
  while (t < end && !holds(t)) ++t;
  return t;
}

// One coordinate along a row or a column of pixels, step * t + offset + shift, with the roundings of
// Affine::x and Affine::y: each of the three operations keeps the order of the t, so the t whose coordinate
// lies in an interval are neighbours.
template <class T>
struct LineCoordinate {
  T step, offset, shift;

  template <class Integer>
  T operator()(Integer t) const {
    return step * T(t) + offset + shift;
  }

  // Shrinks [begin, end) to the t with low < coordinate < high.
  void narrow(T low, T high, int64_t& begin, int64_t& end) const {
    const auto after_low = [&](int64_t t) { return (*this)(t) > low; };
    const auto before_high = [&](int64_t t) { return (*this)(t) < high; };
    if (begin >= end) return;
    if (step == 0) {
      if (!(after_low(begin) && before_high(begin))) end = begin;
      return;
    }
    const double constant = double(offset) + double(shift);
    const double at_low = (double(low) - constant) / double(step);
    const double at_high = (double(high) - constant) / double(step);
    if (step > 0) {
      begin = first_where(at_low, begin, end, after_low);
      end = first_where(at_high, begin, end, [&](int64_t t) { return !before_high(t); });
    } else {
      begin = first_where(at_high, begin, end, before_high);
      end = first_where(at_low, begin, end, [&](int64_t t) { return !after_low(t); });
    }
  }
};

}  // namespace pose2seg
