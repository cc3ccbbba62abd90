#pragma once

// Stand-in for CUDA's half type, on the compiler's own.
class __half {
 public:
  __half() = default;
  __half(float value) : value_(static_cast<_Float16>(value)) {}
  operator float() const { return static_cast<float>(value_); }

 private:
  _Float16 value_;
};
