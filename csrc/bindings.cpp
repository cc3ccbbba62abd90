#include <ATen/record_function.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/library.h>

#include "ops/ops.h"

// Every op twice: as a plain function, the quick way in from eager Python, and with the dispatcher, for
// torch.compile and torch.export. The modules of pose2seg_ops add the fake kernels.

#ifndef POSE2SEG_LIBRARY
#define POSE2SEG_LIBRARY pose2seg_ops
#endif

namespace pose2seg {
namespace {

std::tuple<at::Tensor, at::Tensor> letterbox_vectors(const std::vector<at::Tensor>& images,
                                                     at::IntArrayRef size, const std::vector<double>& mean,
                                                     const std::vector<double>& std, at::ScalarType dtype,
                                                     bool channels_last) {
  return letterbox(images, size, mean, std, dtype, channels_last);
}

// A function of Python in a range of its operator's name, for the profiler and NVTX: what the dispatcher
// gives an operator. Where nobody looks on, that is one comparison.
template <class Result, class... Arguments>
void define(py::module_& m, const char* name, Result (*op)(Arguments...)) {
  const auto in_range = [op, range = C10_STRINGIZE(POSE2SEG_LIBRARY) "::" +
                                     std::string(name)](Arguments... arguments) -> Result {
    RECORD_FUNCTION(range.c_str(), c10::ArrayRef<const c10::IValue>());
    return op(std::forward<Arguments>(arguments)...);
  };
  m.def(name, in_range, py::call_guard<py::gil_scoped_release>());
}

template <class Kernel>
void define(torch::Library& library, const std::string& schema, Kernel kernel) {
  const std::string name = schema.substr(0, schema.find('('));
  library.def(schema.c_str());
  library.impl(name.c_str(), torch::dispatch(c10::DispatchKey::CPU, kernel));
  library.impl(name.c_str(), torch::dispatch(c10::DispatchKey::CUDA, kernel));
}

}  // namespace
}  // namespace pose2seg

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  using namespace pose2seg;
  m.doc() = "Kernels of pose2seg_ops; the modules of the package document and call them.";
  define(m, "affine_align", affine_align);
  define(m, "skeleton_maps", skeleton_maps);
  define(m, "align_with_skeleton", align_with_skeleton);
  define(m, "fit_pose_templates", fit_pose_templates);
  define(m, "paste_masks", paste_masks);
  define(m, "paste_rle", paste_rle);
  define(m, "encode_rle", encode_rle);
  define(m, "letterbox", letterbox_vectors);
}

TORCH_LIBRARY_FRAGMENT(POSE2SEG_LIBRARY, m) {
  using namespace pose2seg;
  define(m,
         "affine_align(Tensor input, Tensor matrices, Tensor batch_index, SymInt[2] output_size, "
         "str convention) -> Tensor",
         TORCH_FN(affine_align));
  define(m,
         "affine_align_backward_input(Tensor grad, Tensor matrices, Tensor batch_index, SymInt[] input_size, "
         "bool channels_last, str convention) -> Tensor",
         TORCH_FN(affine_align_backward_input));
  define(m,
         "affine_align_backward_matrices(Tensor grad, Tensor input, Tensor matrices, Tensor batch_index, "
         "str convention) -> Tensor",
         TORCH_FN(affine_align_backward_matrices));
  define(m,
         "skeleton_maps(Tensor keypoints, SymInt[2] output_size, int[] limbs, float sigma, float limb_width, "
         "int stride, bool signed_visibility, str limb_overlap, ScalarType? dtype) -> Tensor",
         TORCH_FN(skeleton_maps));
  define(m,
         "skeleton_maps_backward(Tensor grad, Tensor keypoints, int[] limbs, float sigma, "
         "float limb_width, int stride, bool signed_visibility, str limb_overlap) -> Tensor",
         TORCH_FN(skeleton_maps_backward));
  define(m,
         "align_with_skeleton(Tensor input, Tensor keypoints, Tensor matrices, Tensor batch_index, "
         "SymInt[2] output_size, str convention, int[] limbs, float sigma, float limb_width, "
         "bool signed_visibility) -> Tensor",
         TORCH_FN(align_with_skeleton));
  define(m,
         "fit_pose_templates(Tensor keypoints, Tensor templates, SymInt[2] source_size, "
         "SymInt[2] output_size, str score) -> (Tensor, Tensor, Tensor)",
         TORCH_FN(fit_pose_templates));
  define(m,
         "paste_masks(Tensor probabilities, Tensor matrices, Tensor batch_index, SymInt[] image_sizes, "
         "float threshold) -> Tensor[]",
         TORCH_FN(paste_masks));
  define(m,
         "paste_rle(Tensor probabilities, Tensor matrices, Tensor batch_index, SymInt[] image_sizes, "
         "float threshold) -> (Tensor, Tensor)",
         TORCH_FN(paste_rle));
  define(m, "encode_rle(Tensor masks) -> (Tensor, Tensor)", TORCH_FN(encode_rle));
  define(m,
         "letterbox(Tensor[] images, SymInt[2] size, float[] mean, float[] std, ScalarType dtype, "
         "bool channels_last) -> (Tensor, Tensor)",
         TORCH_FN(letterbox));
}
