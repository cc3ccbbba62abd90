#include "ops/ops.h"
#include "windows.h"

// The same windows from any layout; no larger than what they are of; zeros where there is no image.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::Windows w(arguments);
  const auto align = [&w](const fuzz::Tensor& input) {
    return pose2seg::affine_align(input, w.matrices, w.batch_index, w.output_size, w.convention);
  };
  const fuzz::Tensor output = align(w.input);
  fuzz::require(fuzz::same(output, align(contiguous(w.input))), "a layout changes no value");
  fuzz::require(w.zero_without_image(output), "without an image, a window is zeros");
  const double largest = fuzz::largest(w.input);
  if (largest < 1e30)
    fuzz::require(fuzz::within(output, 1.01 * largest), "a mean is no larger than its taps");
  return 0;
}
