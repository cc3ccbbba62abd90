#include <algorithm>

#include "core/affine_align.h"
#include "core/skeleton_maps.h"
#include "ops/affine_windows.h"
#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/output_tensor.h"
#include "ops/skeleton_drawing.h"

// Runs the kernels of affine_align and skeleton_maps, which write into the first and the last channels of one
// output.

namespace pose2seg {

Tensor align_with_skeleton(const Tensor* out, const Tensor& input, const Tensor& keypoints,
                           const Tensor& matrices, const Tensor& batch_index, Sizes output_size,
                           std::string_view convention, Limbs limbs, double sigma, double limb_width,
                           bool signed_visibility) {
  const Convention parsed = parse_convention(convention);
  require<ValueError>(parsed != Convention::kInverse,
                      "convention must be 'integer', 'half_pixel' or 'pose2seg', got 'inverse'");
  check_shape(matrices, "matrices", "(N, 2, 3)", {-1, 2, 3});
  check_windows(input, matrices, batch_index);
  check_shape(keypoints, "keypoints", "(N, K, 3), a pose per matrix", {matrices.size(0), -1, 3});
  check_geometry_dtype(keypoints, "keypoints", input, "input");
  check_same_device(keypoints, "keypoints", input, "input");
  const auto keypoints_contiguous = contiguous(keypoints);
  const auto matrices_contiguous = contiguous(matrices);
  const auto index_contiguous = contiguous(batch_index);
  SkeletonMapsParams skeletons = {};
  skeletons.drawing = skeleton_drawing(keypoints_contiguous, output_size,
                                       {limbs, sigma, limb_width, 1, signed_visibility, "last"});
  skeletons.drawing.matrices = matrices_contiguous.data;
  const int64_t features = input.size(1), channels = skeletons.drawing.channels();
  const auto output =
      output_tensor(out, {matrices.size(0), features + channels, output_size[0], output_size[1]}, input.dtype,
                    input.device, window_layout(input));
  if (output.numel() == 0) return output;

  const AffineAlignParams windows = {
      affine_windows(input, matrices_contiguous, index_contiguous, parsed, output), input.data, output.data};
  if (features > 0) run_on_device_of(input, windows, affine_align_cpu, CUDA_KERNEL(affine_align_cuda));
  if (channels == 0) return output;
  const int64_t offset = features * output.stride(1) * element_size(output.dtype);
  skeletons.output = output.mutable_data<char>() + offset;
  std::copy_n(output.strides().begin(), 4, skeletons.output_strides);
  skeletons.output_dtype = dtype_of(output);
  run_on_device_of(input, skeletons, skeleton_maps_cpu, CUDA_KERNEL(skeleton_maps_cuda));
  return output;
}

}  // namespace pose2seg
