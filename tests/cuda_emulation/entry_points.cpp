#include "core/affine_align.h"
#include "core/affine_align_backward.h"
#include "core/fit_pose_templates.h"
#include "core/letterbox.h"
#include "core/paste_masks.h"
#include "core/skeleton_maps.h"

// In the emulated extension CPU tensors are served by the CUDA kernels.

namespace pose2seg {

void affine_align_cpu(const AffineAlignParams& params) { affine_align_cuda(params, nullptr); }
void affine_align_backward_input_cpu(const AffineAlignBackwardInputParams& params) {
  affine_align_backward_input_cuda(params, nullptr);
}
void affine_align_backward_matrices_cpu(const AffineAlignBackwardMatricesParams& params) {
  affine_align_backward_matrices_cuda(params, nullptr);
}
void fit_pose_templates_cpu(const FitPoseTemplatesParams& params) {
  fit_pose_templates_cuda(params, nullptr);
}
void letterbox_cpu(const LetterboxParams& params) { letterbox_cuda(params, nullptr); }
void paste_masks_cpu(const PasteMasksParams& params) { paste_masks_cuda(params, nullptr); }
void skeleton_maps_cpu(const SkeletonMapsParams& params) { skeleton_maps_cuda(params, nullptr); }

}  // namespace pose2seg
