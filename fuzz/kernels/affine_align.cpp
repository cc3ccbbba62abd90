#include "ops/ops.h"
#include "windows.h"

// The same windows from any layout; no larger than what they are of; zeros where there is no image.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::Windows w(arguments);
  const auto align = [&w](const at::Tensor& input) {
    return pose2seg::affine_align(input, w.matrices, w.batch_index, w.output_size, w.convention);
  };
  const at::Tensor output = align(w.input);
  fuzz::require(fuzz::same(output, align(w.input.contiguous())), "a layout changes no value");
  fuzz::require(fuzz::within(output.index({w.without_image()}), 0), "without an image, a window is zeros");
  const double largest = w.input.numel() > 0 ? w.input.abs().max().item<double>() : 0;
  if (largest < 1e30)
    fuzz::require(fuzz::within(output, 1.01 * largest), "a mean is no larger than its taps");
  return 0;
}
