#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "ops/ops.h"

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  using namespace pose2seg;
  m.doc() = "Kernels of pose2seg_ops; the modules of the package document and call them.";
  const py::call_guard<py::gil_scoped_release> unlocked;
  m.def("affine_align", &affine_align, unlocked);
  m.def("skeleton_maps", &skeleton_maps, unlocked);
  m.def("fit_pose_templates", &fit_pose_templates, unlocked);
  m.def("paste_masks", &paste_masks, unlocked);
  m.def("letterbox", &letterbox, unlocked);
}
