#include "ops/ops.h"
#include "windows.h"

namespace {

// The modes of affine_align, and matrices of either form.
struct Modes {
  fuzz::Tensor matrices;
  int64_t sampling_ratio;
  const char* interpolation;
  const char* padding_mode;
  const char* convention;
  double fill;

  Modes(fuzz::Arguments& arguments, const fuzz::Windows& windows) {
    matrices = windows.matrices;
    if (arguments.ConsumeBool()) matrices = arguments.numbers({matrices.size(0), 3, 3}, matrices.dtype);
    sampling_ratio = arguments.count(0, 3);
    interpolation = arguments.one_of({"nearest", "bilinear", "bicubic"});
    padding_mode = arguments.one_of({"zeros", "fill", "border", "reflection", "roi_align"});
    convention = arguments.ConsumeBool() ? "inverse" : windows.convention;
    fill = std::string_view(padding_mode) == "fill" ? 0.5 : 0;
  }
};

}  // namespace

// The windows and both gradients must not depend on the memory layout, and must be zeros for an invalid
// index.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::Windows w(arguments);
  const Modes m(arguments, w);
  const auto align = [&](const fuzz::Tensor& input) {
    return pose2seg::affine_align(nullptr, input, m.matrices, w.batch_index, w.output_size, m.convention,
                                  m.sampling_ratio, m.interpolation, m.padding_mode, m.fill);
  };
  const fuzz::Tensor output = align(w.input);
  fuzz::require(fuzz::same(output, align(contiguous(w.input))), "the result does not depend on the layout");
  fuzz::require(w.zero_without_image(output), "the window of an invalid index is zeros");

  const fuzz::Tensor grad = arguments.numbers(
      {m.matrices.size(0), w.input.size(1), w.output_size[0], w.output_size[1]}, w.input.dtype);
  const auto to_input = [&](const fuzz::Tensor& given) {
    return pose2seg::affine_align_backward_input(given, m.matrices, w.batch_index, w.input.sizes(), false,
                                                 m.convention, m.sampling_ratio, m.interpolation,
                                                 m.padding_mode, m.fill);
  };
  fuzz::require(fuzz::same(to_input(grad), to_input(arguments.laid_out(grad))),
                "the gradient of the input does not depend on the layout");
  const auto to_matrices = [&](const fuzz::Tensor& input) {
    return pose2seg::affine_align_backward_matrices(grad, input, m.matrices, w.batch_index, m.convention,
                                                    m.sampling_ratio, m.interpolation, m.padding_mode,
                                                    m.fill);
  };
  const fuzz::Tensor grad_matrices = to_matrices(w.input);
  fuzz::require(w.zero_without_image(grad_matrices), "the gradient of an invalid index is zero");
  fuzz::require(fuzz::same(grad_matrices, to_matrices(contiguous(w.input))),
                "the gradient of the matrices does not depend on the layout");
  return 0;
}
