#include "core/fit_pose_templates.h"

#include <ATen/Parallel.h>

// Reads every pose once per template (both stay in cache), writes one matrix a pose. Threads share out poses.

namespace pose2seg {
namespace {

template <class T>
void fit_all(const FitPoseTemplatesParams& params) {
  at::parallel_for(0, params.poses, 8, [&](int64_t begin, int64_t end) {
    for (int64_t pose = begin; pose < end; ++pose) {
      BestFit best = no_fit();
      for (int64_t index = 0; index < params.template_count; ++index) {
        const BestFit fit = fit_template<T>(params, pose, index);
        if (fit.beats(best)) best = fit;
      }
      store_fit<T>(params, pose, best);
    }
  });
}

}  // namespace

void fit_pose_templates_cpu(const FitPoseTemplatesParams& params) {
  params.dtype == DType::kDouble ? fit_all<double>(params) : fit_all<float>(params);
}

}  // namespace pose2seg
