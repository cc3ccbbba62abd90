#pragma once

#include <cstdint>
#include <cstring>

// Vectors of the same number of values with every instruction set.

namespace pose2seg {

constexpr int kLanes = 16;

// kLanes values in registers of kBytes. The compiler keeps vectors that are larger than its registers in
// memory, so a vector is made of several where registers are small.
template <class T, int kBytes>
struct alignas(kBytes) Lanes {
  static constexpr int kOfRegister = kBytes / sizeof(T), kRegisters = kLanes / kOfRegister;
  typedef T Register __attribute__((vector_size(kBytes)));

  Register of[kRegisters];

  // Registers are copied one by one, since the compiler would keep lanes in memory that are copied as a
  // whole.
  static Lanes read(const T* from) {
    return each([&](Register& to, int r) { std::memcpy(&to, from + r * kOfRegister, kBytes); });
  }
  void write(T* to) const {
    for (int r = 0; r < kRegisters; ++r) std::memcpy(to + r * kOfRegister, &of[r], kBytes);
  }

  T operator[](int64_t lane) const { return of[lane / kOfRegister][lane % kOfRegister]; }

  Lanes& operator+=(const Lanes& other) { return *this = *this + other; }
  Lanes& operator*=(const Lanes& other) { return *this = *this * other; }

  friend Lanes operator+(const Lanes& a, const Lanes& b) {
    return each([&](Register& to, int r) { to = a.of[r] + b.of[r]; });
  }
  friend Lanes operator-(const Lanes& a, const Lanes& b) {
    return each([&](Register& to, int r) { to = a.of[r] - b.of[r]; });
  }
  friend Lanes operator*(const Lanes& a, const Lanes& b) {
    return each([&](Register& to, int r) { to = a.of[r] * b.of[r]; });
  }
  friend Lanes operator*(T a, const Lanes& b) {
    return each([&](Register& to, int r) { to = a * b.of[r]; });
  }
  friend Lanes operator-(const Lanes& a, T b) {
    return each([&](Register& to, int r) { to = a.of[r] - b; });
  }

  static Lanes all(T value) {
    return each([&](Register& to, int) { to = Register{} + value; });
  }

 private:
  template <class Compute>
  static Lanes each(const Compute& compute) {
    Lanes result;
    for (int r = 0; r < kRegisters; ++r) compute(result.of[r], r);
    return result;
  }
};

}  // namespace pose2seg
