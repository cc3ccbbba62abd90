#include "core/skeleton_maps.h"

#include <ATen/ops/empty.h>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace pose2seg {
namespace {

void check_drawing(double sigma, double limb_width, int64_t stride) {
  TORCH_CHECK_VALUE(sigma > 0 && std::isfinite(sigma), "sigma must be positive and finite, got ", sigma);
  TORCH_CHECK_VALUE(limb_width > 0 && std::isfinite(limb_width),
                    "limb_width must be positive and finite, got ", limb_width);
  TORCH_CHECK_VALUE(stride >= 1, "stride must be at least 1, got ", stride);
}

void store_limbs(at::IntArrayRef limbs, int64_t joints, SkeletonMapsParams& params) {
  const auto count = static_cast<int64_t>(limbs.size() / 2);
  TORCH_CHECK_VALUE(limbs.size() % 2 == 0, "limbs must be pairs of joints, got ", limbs.size(), " numbers");
  TORCH_CHECK_VALUE(count <= kMaxLimbs, "limbs must be at most ", kMaxLimbs, ", got ", count);
  TORCH_CHECK_VALUE(joints <= INT16_MAX, "keypoints must have at most ", INT16_MAX, " joints, got ", joints);
  params.limb_count = static_cast<int>(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t from = limbs[2 * i], to = limbs[2 * i + 1];
    TORCH_CHECK_VALUE(from >= 0 && from < joints && to >= 0 && to < joints, "limbs must name joints 0 to ",
                      joints - 1, ", got (", from, ", ", to, ") at ", i);
    params.limbs[i][0] = static_cast<int16_t>(from);
    params.limbs[i][1] = static_cast<int16_t>(to);
  }
}

}  // namespace

at::Tensor skeleton_maps(const at::Tensor& keypoints, at::IntArrayRef output_size, at::IntArrayRef limbs,
                         double sigma, double limb_width, int64_t stride, bool signed_visibility,
                         std::optional<at::ScalarType> dtype) {
  if (keypoints.dim() == 4) {
    check_shape(keypoints, "keypoints", "(N, K, 3) or (N, P, K, 3)", {-1, -1, -1, 3});
  } else {
    check_shape(keypoints, "keypoints", "(N, K, 3) or (N, P, K, 3)", {-1, -1, 3});
  }
  check_geometry_dtype(keypoints, "keypoints", keypoints, "keypoints");
  check_device(keypoints, "keypoints");
  check_no_gradient(keypoints, "keypoints", "skeleton_maps");
  check_size(output_size, "output_size");
  check_drawing(sigma, limb_width, stride);

  SkeletonMapsParams params = {};
  params.maps = keypoints.size(0);
  params.people = keypoints.dim() == 4 ? keypoints.size(1) : 1;
  params.joints = keypoints.size(-2);
  store_limbs(limbs, params.joints, params);
  const auto output =
      at::empty({params.maps, params.joints + 2 * params.limb_count, output_size[0], output_size[1]},
                keypoints.options().dtype(dtype.value_or(keypoints.scalar_type())));
  check_floating(output, "dtype");
  if (output.numel() == 0) return output;

  const auto keypoints_dense = dense(keypoints);
  params.keypoints = keypoints_dense.const_data_ptr();
  params.output = output.mutable_data_ptr();
  params.height = output_size[0];
  params.width = output_size[1];
  params.stride = stride;
  params.sigma = sigma;
  params.limb_width = limb_width;
  params.signed_visibility = signed_visibility;
  params.keypoints_dtype = dtype_of(keypoints);
  params.output_dtype = dtype_of(output);
  run_on_device_of(keypoints, params, skeleton_maps_cpu, CUDA_KERNEL(skeleton_maps_cuda));
  return output;
}

}  // namespace pose2seg
