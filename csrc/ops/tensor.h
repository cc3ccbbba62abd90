#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace pose2seg {

using Sizes = std::span<const int64_t>;

// Pairs of joints, flattened.
struct Limbs : Sizes {
  using Sizes::Sizes;
};

// Pairs of height and width, flattened.
struct ImageSizes : Sizes {
  using Sizes::Sizes;
};

// The element types that the ops know by name; the enumerators are named as in torch: kByte is uint8, kLong
// is int64.
enum class ScalarType {
  kFloat,
  kDouble,
  kHalf,
  kBFloat16,
  kByte,
  kBool,
  kInt,
  kLong,
  kChar,
  kShort,
  kComplexFloat,
  kComplexDouble,
  kOther,
};

// The names of the dtypes in Python, in the same order.
inline constexpr std::array kDtypeNames = {"float32", "float64", "float16",   "bfloat16",
                                           "uint8",   "bool",    "int32",     "int64",
                                           "int8",    "int16",   "complex64", "complex128"};

constexpr const char* dtype_name(ScalarType dtype) {
  return dtype == ScalarType::kOther ? "another dtype" : kDtypeNames[static_cast<size_t>(dtype)];
}

constexpr int64_t element_size(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::kComplexDouble: return 16;
    case ScalarType::kDouble:
    case ScalarType::kLong:
    case ScalarType::kComplexFloat: return 8;
    case ScalarType::kFloat:
    case ScalarType::kInt: return 4;
    case ScalarType::kHalf:
    case ScalarType::kBFloat16:
    case ScalarType::kShort: return 2;
    default: return 1;
  }
}

constexpr bool is_floating(ScalarType dtype) {
  return dtype == ScalarType::kFloat || dtype == ScalarType::kDouble || dtype == ScalarType::kHalf ||
         dtype == ScalarType::kBFloat16;
}

enum class DeviceType { kCpu, kCuda, kMeta, kOther };

struct Device {
  DeviceType type;
  int32_t index;

  bool operator==(const Device&) const = default;
};

// A view of the memory of a torch.Tensor that needs no torch header.
struct Tensor {
  void* data = nullptr;
  const int64_t* sizes_begin = nullptr;
  const int64_t* strides_begin = nullptr;  // in elements
  int32_t dimensions = 0;
  ScalarType dtype = ScalarType::kOther;
  Device device = {DeviceType::kOther, 0};
  // If the elements cannot be read, the reason, as the end of "must be a dense tensor, got ..."; otherwise
  // nullptr.
  const char* not_dense = nullptr;
  // The tensor itself. The caller keeps arguments alive; this pointer owns tensors that an op creates.
  std::shared_ptr<void> object;

  int64_t dim() const { return dimensions; }
  // Negative `i` counts from the end.
  int64_t size(int64_t i) const { return sizes_begin[i < 0 ? dimensions + i : i]; }
  int64_t stride(int64_t i) const { return strides_begin[i < 0 ? dimensions + i : i]; }
  Sizes sizes() const { return {sizes_begin, static_cast<size_t>(dimensions)}; }
  Sizes strides() const { return {strides_begin, static_cast<size_t>(dimensions)}; }
  bool is_cpu() const { return device.type == DeviceType::kCpu; }
  bool is_cuda() const { return device.type == DeviceType::kCuda; }
  bool is_meta() const { return device.type == DeviceType::kMeta; }

  int64_t numel() const {
    int64_t product = 1;
    for (const int64_t size : sizes()) product *= size;
    return product;
  }

  bool is_contiguous() const {
    int64_t expected = 1;
    for (int32_t i = dimensions - 1; i >= 0; --i) {
      if (sizes_begin[i] == 0) return true;
      if (sizes_begin[i] != 1 && strides_begin[i] != expected) return false;
      expected *= sizes_begin[i];
    }
    return true;
  }

  template <class T>
  const T* const_data() const {
    return static_cast<const T*>(data);
  }
  template <class T>
  T* mutable_data() const {
    return static_cast<T*>(data);
  }
};

}  // namespace pose2seg
