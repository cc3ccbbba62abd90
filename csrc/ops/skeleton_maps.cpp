#include "core/skeleton_maps.h"

#include <algorithm>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/output_tensor.h"
#include "ops/skeleton_drawing.h"

namespace pose2seg {

Tensor skeleton_maps(const Tensor* out, const Tensor& keypoints, Sizes output_size, Limbs limbs, double sigma,
                     double limb_width, int64_t stride, bool signed_visibility, std::string_view limb_overlap,
                     std::optional<ScalarType> dtype) {
  check_keypoints_of_maps(keypoints);
  const Tensor keypoints_contiguous = contiguous(keypoints);
  SkeletonMapsParams params = {};
  params.drawing = skeleton_drawing(keypoints_contiguous, output_size,
                                    {limbs, sigma, limb_width, stride, signed_visibility, limb_overlap});
  const ScalarType output_dtype = dtype.value_or(keypoints.dtype);
  check_floating_dtype(output_dtype, "dtype");
  const Tensor output =
      output_tensor(out, {params.drawing.maps, params.drawing.channels(), output_size[0], output_size[1]},
                    output_dtype, keypoints.device);
  if (output.numel() == 0) return output;
  if (params.drawing.people == 0) {
    fill_zeros(output);
    return output;
  }

  params.output = output.data;
  std::copy_n(output.strides().begin(), 4, params.output_strides);
  params.output_dtype = dtype_of(output);
  run_on_device_of(keypoints, params, skeleton_maps_cpu, CUDA_KERNEL(skeleton_maps_cuda));
  return output;
}

}  // namespace pose2seg
