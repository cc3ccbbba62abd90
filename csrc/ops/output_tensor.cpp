#include "ops/output_tensor.h"

#include <string>

#include "ops/checks.h"

namespace pose2seg {
namespace {

// Whether the elements are adjacent in memory, in the order of torch.contiguous_format or of
// torch.channels_last.
bool is_packed(const Tensor& tensor) {
  if (tensor.is_contiguous() || tensor.dim() != 4) return tensor.is_contiguous();
  const int64_t channels = tensor.size(1), width = tensor.size(3);
  return tensor.stride(1) == 1 && tensor.stride(3) == channels && tensor.stride(2) == channels * width &&
         tensor.stride(0) == channels * width * tensor.size(2);
}

struct Bytes {
  const char *begin, *end;
};

Bytes bytes_of(const Tensor& tensor) {
  int64_t last = 0;  // no stride is negative
  for (int64_t i = 0; i < tensor.dim(); ++i) last += (tensor.size(i) - 1) * tensor.stride(i);
  const auto* begin = tensor.const_data<char>();
  return {begin, begin + (last + 1) * element_size(tensor.dtype)};
}

}  // namespace

Tensor output_tensor(const Tensor* out, std::initializer_list<int64_t> sizes, ScalarType dtype,
                     const Device& device, Layout layout) {
  if (out == nullptr) return empty(sizes, dtype, device, layout);
  std::string expected;
  append(expected, Shape{Sizes(sizes.begin(), sizes.size())});
  check_shape(*out, "out", expected.c_str(), sizes);
  require<TypeError>(out->dtype == dtype, "out must be ", dtype_name(dtype), ", got ",
                     dtype_name(out->dtype));
  if (out->device != device)
    raise<ValueError>("out must be on the device of the other arguments, got ",
                      attribute_text(*out, "device"));
  require<ValueError>(is_packed(*out), "out must be contiguous or channels_last, got strides ",
                      Shape{out->strides()});
  return *out;
}

void check_no_overlap(const Tensor& out, const Tensor& argument) {
  const bool have_memory = out.data != nullptr && argument.data != nullptr;  // unlike meta tensors
  if (!have_memory || out.numel() == 0 || argument.numel() == 0) return;
  const Bytes written = bytes_of(out), read = bytes_of(argument);
  require<ValueError>(written.end <= read.begin || read.end <= written.begin,
                      "out must not share memory with another argument");
}

}  // namespace pose2seg
