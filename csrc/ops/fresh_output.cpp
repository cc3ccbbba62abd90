#include "ops/fresh_output.h"

#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include <cstdint>

namespace pose2seg {
namespace {

// Only whole huge pages within the memory, so that no more of it is used than without them. A refusal does no
// harm.
void ask_for_huge_pages(void* memory, size_t bytes) {
  constexpr uintptr_t kHugePage = 2 << 20;
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t last = (begin + bytes) / kHugePage * kHugePage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

}  // namespace

at::Tensor fresh_output(at::IntArrayRef sizes, const at::TensorOptions& options) {
  const auto output = at::empty(sizes, options);
  if (output.is_cpu()) ask_for_huge_pages(output.mutable_data_ptr(), output.nbytes());
  return output;
}

}  // namespace pose2seg
