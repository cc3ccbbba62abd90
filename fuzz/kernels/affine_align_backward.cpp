#include "ops/ops.h"
#include "windows.h"

namespace {

bool moderate(const fuzz::Tensor& tensor) { return fuzz::within(tensor, 1e6); }

// The sum of the products of the elements, and the sum of their magnitudes.
struct InnerProduct {
  double sum = 0, magnitude = 0;

  InnerProduct(const fuzz::Tensor& a, const fuzz::Tensor& b) {
    const std::vector<double> left = fuzz::values(a), right = fuzz::values(b);
    for (size_t i = 0; i < left.size(); ++i) {
      sum += left[i] * right[i];
      magnitude += std::abs(left[i] * right[i]);
    }
  }
};

double magnitude(const fuzz::Tensor& tensor) {
  double sum = 0;
  for (const double value : fuzz::values(tensor)) sum += std::abs(value);
  return sum;
}

}  // namespace

// The gradient of the input must be the transpose of the forward pass, <grad, A x> = <A' grad, x>; both
// gradients must not depend on the memory layout, and must be zero for an invalid index.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::Windows w(arguments);
  const int64_t instances = w.matrices.size(0), channels = w.input.size(1);
  const fuzz::Tensor grad_contiguous =
      arguments.numbers({instances, channels, w.output_size[0], w.output_size[1]}, w.input.dtype);
  const fuzz::Tensor grad = arguments.laid_out(grad_contiguous);
  const bool channels_last = arguments.ConsumeBool();

  const auto to_input = [&](const fuzz::Tensor& given) {
    return pose2seg::affine_align_backward_input(given, w.matrices, w.batch_index, w.input.sizes(),
                                                 channels_last, w.convention);
  };
  const fuzz::Tensor grad_input = to_input(grad);
  fuzz::require(fuzz::same(grad_input, to_input(grad_contiguous)),
                "the gradient of the input does not depend on the layout");

  const auto to_matrices = [&](const fuzz::Tensor& given, const fuzz::Tensor& input) {
    return pose2seg::affine_align_backward_matrices(given, input, w.matrices, w.batch_index, w.convention);
  };
  const fuzz::Tensor grad_matrices = to_matrices(grad, w.input);
  fuzz::require(w.zero_without_image(grad_matrices), "the gradient of an invalid index is zero");
  fuzz::require(fuzz::same(grad_matrices, to_matrices(grad, w.input)),
                "the gradient of the matrices does not depend on the layout");

  if (w.input.dtype == fuzz::kDouble && moderate(w.input) && moderate(grad_contiguous)) {
    const fuzz::Tensor output =
        pose2seg::affine_align(nullptr, w.input, w.matrices, w.batch_index, w.output_size, w.convention);
    const InnerProduct forward(grad_contiguous, output), backward(grad_input, w.input);
    const double scale =
        forward.magnitude + backward.magnitude + 1e6 * (magnitude(grad_contiguous) + magnitude(w.input));
    fuzz::require(std::abs(forward.sum - backward.sum) <= 1e-9 * scale, "the gradient is the transpose");
  }
  return 0;
}
