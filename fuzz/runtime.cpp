#include "ops/runtime.h"

#include <cstdlib>
#include <cstring>

#include "cpu/instruction_set.h"
#include "kernels/tensors.h"

// Implements the runtime of the ops (csrc/ops/runtime.h) without torch and Python, for the CPU only.
// current_stream is missing, since only builds with CUDA call it.

namespace pose2seg {

// The allocation ends with the tensor, so that AddressSanitizer detects every access beyond it. Its bytes are
// NaN in every floating dtype and an invalid bool, so that unwritten elements are detected as well.
Tensor empty(Sizes sizes, ScalarType dtype, const Device& device, Layout layout) {
  if (layout == Layout::kChannelsLast)
    return fuzz::move_dimension(empty({sizes[0], sizes[2], sizes[3], sizes[1]}, dtype, device), 3, 1);
  fuzz::Shape strides(sizes.size());
  int64_t elements = 1;
  for (size_t i = sizes.size(); i-- > 0; elements *= sizes[i]) strides[i] = elements;
  const size_t bytes = elements * element_size(dtype);
  Tensor memory;
  memory.data = std::malloc(bytes);
  memory.dtype = dtype;
  memory.device = device;
  memory.object = std::shared_ptr<void>(memory.data, std::free);
  std::memset(memory.data, 0xff, bytes);
  return fuzz::view(memory, 0, {sizes.begin(), sizes.end()}, std::move(strides));
}

Tensor empty(std::initializer_list<int64_t> sizes, ScalarType dtype, const Device& device, Layout layout) {
  return empty(Sizes(sizes.begin(), sizes.size()), dtype, device, layout);
}

void fill_zeros(const Tensor& tensor) {
  if (tensor.data != nullptr) std::memset(tensor.data, 0, tensor.numel() * element_size(tensor.dtype));
}

Tensor contiguous(const Tensor& tensor) {
  if (tensor.is_contiguous()) return tensor;
  return fuzz::copied(tensor, empty(tensor.sizes(), tensor.dtype, tensor.device));
}

Tensor to_cpu(const Tensor& tensor) { return tensor; }

// Only error messages use this, and the fuzzers cause none.
std::string attribute_text(const Tensor&, const char* attribute) { return attribute; }

ReleasedGil::ReleasedGil() : state_(nullptr) {}

ReleasedGil::~ReleasedGil() = default;

}  // namespace pose2seg

// Selects the widest instruction set of the machine, as torch does by default.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
#ifdef __x86_64__
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  pose2seg::use_instruction_set(avx2 && avx512 ? "AVX512" : avx2 ? "AVX2" : "DEFAULT");
#endif
  return 0;
}
