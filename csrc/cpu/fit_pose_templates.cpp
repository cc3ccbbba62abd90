#include "core/fit_pose_templates.h"

#include "cpu/parallel.h"
#include "cpu/template_bounds.h"

// Reads every pose once, and the templates (which stay in cache) once per pose; writes one matrix per pose.
// Fits the template with the highest upper bound first, then only those whose bound is at least the best
// score so far. Threads divide the poses.

namespace pose2seg {
namespace {

template <class T>
BestFit best_fit(const FitPoseTemplatesParams& params, int64_t pose, TemplateBounds& bounds_of) {
  const auto& bounds = bounds_of(static_cast<const T*>(params.keypoints) + pose * params.joints * 3);
  const int64_t likely = std::max_element(bounds.begin(), bounds.end()) - bounds.begin();
  BestFit best = no_fit();
  const auto try_template = [&](int64_t index) {
    if (bounds[index] == 0 || bounds[index] < best.score) return;
    const BestFit fit = fit_template<T>(params, pose, index);
    if (fit.beats(best)) best = fit;
  };
  if (params.template_count > 0) try_template(likely);
  for (int64_t index = 0; index < params.template_count; ++index)
    if (index != likely) try_template(index);
  return best;
}

template <class T>
void fit_all(const FitPoseTemplatesParams& params) {
  // Fitting fewer poses takes less time than waking another thread.
  constexpr int64_t kGrain = 32;
  parallel_for(0, params.poses, kGrain, [&](int64_t begin, int64_t end) {
    auto bounds = TemplateBounds::of<T>(params);
    for (int64_t pose = begin; pose < end; ++pose)
      store_fit<T>(params, pose, best_fit<T>(params, pose, bounds));
  });
}

}  // namespace

void fit_pose_templates_cpu(const FitPoseTemplatesParams& params) {
  params.dtype == DType::kDouble ? fit_all<double>(params) : fit_all<float>(params);
}

}  // namespace pose2seg
