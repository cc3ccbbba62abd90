#include "ops/ops.h"
#include "windows.h"

// The windows must not depend on the memory layout, must not exceed their taps, and must be zeros for an
// invalid index.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::Windows w(arguments);
  const auto align = [&w](const fuzz::Tensor& input) {
    return pose2seg::affine_align(nullptr, input, w.matrices, w.batch_index, w.output_size, w.convention);
  };
  const fuzz::Tensor output = align(w.input);
  fuzz::require(fuzz::same(output, align(contiguous(w.input))), "the result does not depend on the layout");
  fuzz::require(w.zero_without_image(output), "the window of an invalid index is zeros");
  const double largest = fuzz::largest(w.input);
  if (largest < 1e30)
    fuzz::require(fuzz::within(output, 1.01 * largest), "a weighted mean does not exceed its taps");
  return 0;
}
