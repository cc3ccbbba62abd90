#include "ops/ops.h"
#include "windows.h"

namespace {

bool moderate(const at::Tensor& tensor) { return fuzz::within(tensor, 1e6); }

}  // namespace

// The gradient to the input is the transpose of the forward pass, <grad, A x> = <A' grad, x>; both gradients
// are the same from any layout, and zero where there is no image.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::Windows w(arguments);
  const int64_t instances = w.matrices.size(0), channels = w.input.size(1);
  const at::Tensor dense =
      arguments.numbers({instances, channels, w.output_size[0], w.output_size[1]}, w.input.scalar_type());
  const at::Tensor grad = arguments.laid_out(dense);
  const bool channels_last = arguments.ConsumeBool();

  const auto to_input = [&](const at::Tensor& given) {
    return pose2seg::affine_align_backward_input(given, w.matrices, w.batch_index, w.input.sizes(),
                                                 channels_last, w.convention);
  };
  const at::Tensor grad_input = to_input(grad);
  fuzz::require(fuzz::same(grad_input, to_input(dense)), "a layout changes no gradient to the input");

  const auto to_matrices = [&](const at::Tensor& given, const at::Tensor& input) {
    return pose2seg::affine_align_backward_matrices(given, input, w.matrices, w.batch_index, w.convention);
  };
  const at::Tensor grad_matrices = to_matrices(grad, w.input);
  fuzz::require(fuzz::within(grad_matrices.index({w.without_image()}), 0), "without an image, no gradient");
  fuzz::require(fuzz::same(grad_matrices, to_matrices(grad, w.input)), "twice the same gradient");

  if (w.input.scalar_type() == at::kDouble && moderate(w.input) && moderate(dense)) {
    const at::Tensor output =
        pose2seg::affine_align(w.input, w.matrices, w.batch_index, w.output_size, w.convention);
    const double forward = (dense * output).sum().item<double>();
    const double backward = (grad_input * w.input).sum().item<double>();
    const double scale = (dense.abs() * output.abs()).sum().item<double>() +
                         (grad_input.abs() * w.input.abs()).sum().item<double>() +
                         1e6 * (dense.abs().sum().item<double>() + w.input.abs().sum().item<double>());
    fuzz::require(std::abs(forward - backward) <= 1e-9 * scale, "the gradient is the transpose");
  }
  return 0;
}
