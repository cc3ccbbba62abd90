#include <Python.h>

#include "core/affine_align.h"
#include "core/affine_align_backward.h"
#include "core/encode_rle.h"
#include "core/fit_pose_templates.h"
#include "core/letterbox.h"
#include "core/paste_masks.h"
#include "core/paste_rle.h"
#include "core/sample_windows.h"
#include "core/skeleton_maps.h"
#include "core/skeleton_maps_backward.h"
#include "ops/rle.h"

// In the emulated extension, the CUDA kernels process CPU tensors.

namespace pose2seg {
namespace {

// Acquires the GIL, which CPU kernels run without, to allocate the buffers of the CUDA kernel that replaces
// one.
struct Gil {
  PyGILState_STATE state = PyGILState_Ensure();
  ~Gil() { PyGILState_Release(state); }
};

// Finds boundaries with a CUDA kernel, encodes them with another, and returns them as a CPU kernel does.
template <class Params>
void encode_by(void (*kernel)(const Params&, CUstream_st*), Params params,
               const std::vector<MaskSize>& sizes) {
  const Gil gil;
  std::string* encoded = params.output.encoded;
  const auto find = [&](const MaskBoundaries& output) {
    params.output = output;
    kernel(params, nullptr);
  };
  const auto encode = [](const Tensor&, const RunLengthsParams& runs) { encode_runs_cuda(runs, nullptr); };
  for (std::string& of_mask : encode_on_device(sizes, {DeviceType::kCpu, 0}, find, encode))
    *encoded++ = std::move(of_mask);
}

}  // namespace

void affine_align_cpu(const AffineAlignParams& params) { affine_align_cuda(params, nullptr); }
void affine_align_backward_input_cpu(const AffineAlignBackwardInputParams& params) {
  affine_align_backward_input_cuda(params, nullptr);
}
void affine_align_backward_matrices_cpu(const AffineAlignBackwardMatricesParams& params) {
  affine_align_backward_matrices_cuda(params, nullptr);
}
void encode_rle_cpu(const EncodeRleParams& params) {
  const std::vector<MaskSize> sizes(params.output.masks, {params.height, params.width});
  encode_by(encode_rle_cuda, params, sizes);
}
void fit_pose_templates_cpu(const FitPoseTemplatesParams& params) {
  fit_pose_templates_cuda(params, nullptr);
}
void letterbox_cpu(const LetterboxParams& params) { letterbox_cuda(params, nullptr); }
void paste_masks_cpu(const PasteParams& params) { paste_masks_cuda(params, nullptr); }
void paste_rle_cpu(const PasteRleParams& params) {
  std::vector<MaskSize> sizes;
  for (int64_t i = 0; i < params.target_count; ++i)
    sizes.push_back({params.targets[i].height, params.targets[i].width});
  encode_by(paste_rle_cuda, params, sizes);
}
void sample_windows_cpu(const SampleWindowsParams& params) { sample_windows_cuda(params, nullptr); }
void sample_windows_backward_input_cpu(const SampleWindowsBackwardInputParams& params) {
  sample_windows_backward_input_cuda(params, nullptr);
}
void sample_windows_backward_matrices_cpu(const SampleWindowsBackwardMatricesParams& params) {
  sample_windows_backward_matrices_cuda(params, nullptr);
}
void skeleton_maps_cpu(const SkeletonMapsParams& params) { skeleton_maps_cuda(params, nullptr); }
void skeleton_maps_backward_cpu(const SkeletonMapsBackwardParams& params) {
  skeleton_maps_backward_cuda(params, nullptr);
}

}  // namespace pose2seg
