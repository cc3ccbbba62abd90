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
                                                     const std::vector<double>& std) {
  return letterbox(images, size, mean, std);
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
  const py::call_guard<py::gil_scoped_release> unlocked;
  m.def("affine_align", &affine_align, unlocked);
  m.def("skeleton_maps", &skeleton_maps, unlocked);
  m.def("fit_pose_templates", &fit_pose_templates, unlocked);
  m.def("paste_masks", &paste_masks, unlocked);
  m.def("letterbox", &letterbox_vectors, unlocked);
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
         "int stride, bool signed_visibility, ScalarType? dtype) -> Tensor",
         TORCH_FN(skeleton_maps));
  define(m,
         "fit_pose_templates(Tensor keypoints, Tensor templates, SymInt[2] source_size, "
         "SymInt[2] output_size, str score) -> (Tensor, Tensor, Tensor)",
         TORCH_FN(fit_pose_templates));
  define(m,
         "paste_masks(Tensor probabilities, Tensor matrices, Tensor batch_index, int[] image_sizes, "
         "float threshold) -> Tensor[]",
         TORCH_FN(paste_masks));
  define(m, "letterbox(Tensor[] images, SymInt[2] size, float[] mean, float[] std) -> (Tensor, Tensor)",
         TORCH_FN(letterbox));
}
