#include "core/skeleton_maps.h"

#include <algorithm>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/fresh_output.h"
#include "ops/ops.h"
#include "ops/skeleton_drawing.h"

namespace pose2seg {

at::Tensor skeleton_maps(const at::Tensor& keypoints, at::IntArrayRef output_size, at::IntArrayRef limbs,
                         double sigma, double limb_width, int64_t stride, bool signed_visibility,
                         std::string_view limb_overlap, std::optional<at::ScalarType> dtype) {
  check_keypoints_of_maps(keypoints);
  const auto keypoints_dense = dense(keypoints);
  SkeletonMapsParams params = {};
  params.drawing = skeleton_drawing(keypoints_dense, output_size,
                                    {limbs, sigma, limb_width, stride, signed_visibility, limb_overlap});
  const auto output =
      fresh_output({params.drawing.maps, params.drawing.channels(), output_size[0], output_size[1]},
                   keypoints.options().dtype(dtype.value_or(keypoints.scalar_type())));
  check_floating(output, "dtype");
  if (output.numel() == 0) return output;
  if (params.drawing.people == 0) return output.zero_();

  params.output = output.mutable_data_ptr();
  std::copy_n(output.strides().begin(), 4, params.output_strides);
  params.output_dtype = dtype_of(output);
  run_on_device_of(keypoints, params, skeleton_maps_cpu, CUDA_KERNEL(skeleton_maps_cuda));
  return output;
}

}  // namespace pose2seg
