#include "core/skeleton_maps_backward.h"

#include <algorithm>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/skeleton_drawing.h"

namespace pose2seg {

Tensor skeleton_maps_backward(const Tensor& grad, const Tensor& keypoints, Limbs limbs, double sigma,
                              double limb_width, int64_t stride, bool signed_visibility,
                              std::string_view limb_overlap) {
  check_keypoints_of_maps(keypoints);
  check_shape(grad, "grad", "(N, K + 2 L, h, w)",
              {keypoints.size(0), keypoints.size(-2) + static_cast<int64_t>(limbs.size()), -1, -1});
  check_floating(grad, "grad");
  check_same_device(grad, "grad", keypoints, "keypoints");
  const auto keypoints_contiguous = contiguous(keypoints);
  SkeletonMapsBackwardParams params = {};
  params.drawing = skeleton_drawing(keypoints_contiguous, grad.sizes().subspan(2),
                                    {limbs, sigma, limb_width, stride, signed_visibility, limb_overlap});
  const auto grad_keypoints = empty(keypoints.sizes(), keypoints.dtype, keypoints.device);
  if (grad_keypoints.numel() == 0) return grad_keypoints;

  params.grad = grad.data;
  params.grad_keypoints = grad_keypoints.data;
  std::copy_n(grad.strides().begin(), 4, params.grad_strides);
  params.grad_dtype = dtype_of(grad);
  run_on_device_of(keypoints, params, skeleton_maps_backward_cpu, CUDA_KERNEL(skeleton_maps_backward_cuda));
  return grad_keypoints;
}

}  // namespace pose2seg
