#pragma once

// Replacement of the half type of CUDA, based on that of the compiler.
class __half {
 public:
  __half() = default;
  __half(float value) : value_(static_cast<_Float16>(value)) {}
  operator float() const { return static_cast<float>(value_); }

 private:
  _Float16 value_;
};
