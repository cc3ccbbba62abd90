#include "ops/skeleton_drawing.h"

#include <cmath>

#include "ops/checks.h"

namespace pose2seg {
namespace {

LimbOverlap parse_overlap(std::string_view name) {
  if (name == "last") return LimbOverlap::kLast;
  if (name == "mean") return LimbOverlap::kMean;
  raise<ValueError>("limb_overlap must be 'last' or 'mean', got '", name, "'");
}

void check_style(const SkeletonStyle& style) {
  require<ValueError>(style.sigma > 0 && std::isfinite(style.sigma),
                      "sigma must be positive and finite, got ", style.sigma);
  require<ValueError>(style.limb_width > 0 && std::isfinite(style.limb_width),
                      "limb_width must be positive and finite, got ", style.limb_width);
  require<ValueError>(style.stride >= 1, "stride must be at least 1, got ", style.stride);
}

void store_limbs(Limbs limbs, SkeletonDrawing& drawing) {
  const auto count = static_cast<int64_t>(limbs.size() / 2);
  require<ValueError>(limbs.size() % 2 == 0, "limbs must be pairs of joints, got ", limbs.size(), " numbers");
  require<ValueError>(count <= kMaxLimbs, "limbs must be at most ", kMaxLimbs, ", got ", count);
  drawing.limb_count = static_cast<int>(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t from = limbs[2 * i], to = limbs[2 * i + 1];
    require<ValueError>(from >= 0 && from < drawing.joints && to >= 0 && to < drawing.joints,
                        "limbs must name two of the ", drawing.joints, " joints, counted from 0, got (", from,
                        ", ", to, ") at ", i);
    drawing.limbs[i][0] = static_cast<int16_t>(from);
    drawing.limbs[i][1] = static_cast<int16_t>(to);
  }
}

}  // namespace

SkeletonDrawing skeleton_drawing(const Tensor& keypoints, Sizes output_size, const SkeletonStyle& style) {
  check_size(output_size, "output_size");
  require<ValueError>(output_size[0] <= INT32_MAX / output_size[1],
                      "output_size must be fewer than 2^31 cells, got ", output_size[0], " x ",
                      output_size[1]);
  check_style(style);
  const int64_t joints = keypoints.size(-2);
  require<ValueError>(joints <= INT16_MAX, "keypoints must have at most ", INT16_MAX, " joints, got ",
                      joints);
  SkeletonDrawing drawing = {};
  drawing.keypoints = keypoints.data;
  drawing.maps = keypoints.size(0);
  drawing.people = keypoints.dim() == 4 ? keypoints.size(1) : 1;
  drawing.joints = static_cast<int>(joints);
  drawing.height = static_cast<int>(output_size[0]);
  drawing.width = static_cast<int>(output_size[1]);
  store_limbs(style.limbs, drawing);
  drawing.stride = style.stride;
  drawing.sigma = style.sigma;
  drawing.limb_width = style.limb_width;
  drawing.inverse_two_sigma2 = std::fmin(0.5 / style.sigma / style.sigma, 0x1p100);
  drawing.limb_overlap = parse_overlap(style.limb_overlap);
  drawing.signed_visibility = style.signed_visibility;
  drawing.keypoints_dtype = dtype_of(keypoints);
  return drawing;
}

void check_keypoints_of_maps(const Tensor& keypoints) {
  if (keypoints.dim() == 4) {
    check_shape(keypoints, "keypoints", "(N, K, 3) or (N, P, K, 3)", {-1, -1, -1, 3});
  } else {
    check_shape(keypoints, "keypoints", "(N, K, 3) or (N, P, K, 3)", {-1, -1, 3});
  }
  check_geometry(keypoints, "keypoints");
  check_device(keypoints, "keypoints");
}

}  // namespace pose2seg
