#include "core/fit_pose_templates.h"

#include <string>

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace pose2seg {
namespace {

FitScore parse_score(std::string_view name) {
  if (name == "overlap") return FitScore::kOverlap;
  if (name == "norm") return FitScore::kNorm;
  raise<ValueError>("score must be 'overlap' or 'norm', got '", name, "'");
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> fit_pose_templates(const Tensor& keypoints, const Tensor& templates,
                                                      Sizes source_size, Sizes output_size,
                                                      std::string_view score) {
  FitPoseTemplatesParams params = {};
  params.score_kind = parse_score(score);
  check_shape(keypoints, "keypoints", "(N, K, 3)", {-1, -1, 3});
  check_geometry(keypoints, "keypoints");
  check_device(keypoints, "keypoints");
  const int64_t joints = keypoints.size(1);
  const auto expected = "(T, " + std::to_string(joints) + ", 3), with as many joints as keypoints";
  check_shape(templates, "templates", expected.c_str(), {-1, joints, 3});
  check_geometry_dtype(templates, "templates", keypoints, "keypoints");
  check_same_device(templates, "templates", keypoints, "keypoints");
  check_size(source_size, "source_size");
  check_size(output_size, "output_size");

  const int64_t poses = keypoints.size(0);
  const auto matrices = empty({poses, 2, 3}, keypoints.dtype, keypoints.device);
  const auto index = empty({poses}, ScalarType::kLong, keypoints.device);
  const auto best = empty({poses}, keypoints.dtype, keypoints.device);
  if (poses == 0) return {matrices, index, best};

  const auto keypoints_contiguous = contiguous(keypoints);
  const auto templates_contiguous = contiguous(templates);
  params.keypoints = keypoints_contiguous.data;
  params.templates = templates_contiguous.data;
  params.matrices = matrices.data;
  params.index = index.mutable_data<int64_t>();
  params.score = best.data;
  params.poses = poses;
  params.template_count = templates.size(0);
  params.joints = keypoints.size(1);
  params.source_height = static_cast<double>(source_size[0]);
  params.source_width = static_cast<double>(source_size[1]);
  params.output_height = static_cast<double>(output_size[0]);
  params.output_width = static_cast<double>(output_size[1]);
  params.dtype = dtype_of(keypoints);
  run_on_device_of(keypoints, params, fit_pose_templates_cpu, CUDA_KERNEL(fit_pose_templates_cuda));
  return {matrices, index, best};
}

}  // namespace pose2seg
