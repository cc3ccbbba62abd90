#include "core/fit_pose_templates.h"
#include "cuda/launch.cuh"

// One warp per pose and one lane per template; the lanes then find the best fit with shuffles. Must move:
// each pose and the templates, read once, and a matrix, an index and a score per pose. Does move: the same,
// plus the templates once per pose, a few hundred bytes each, from cache after the first read.

namespace pose2seg {
namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void __launch_bounds__(kThreads) fit_poses(const FitPoseTemplatesParams params) {
  const int64_t pose = (int64_t(blockIdx.x) * kThreads + threadIdx.x) / kWarpSize;
  if (pose >= params.poses) return;
  const int lane = threadIdx.x % kWarpSize;
  BestFit best = no_fit();
  for (int64_t index = lane; index < params.template_count; index += kWarpSize) {
    const BestFit fit = fit_template<T>(params, pose, index);
    if (fit.beats(best)) best = fit;
  }
  BestFit winner = best;
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    BestFit other = winner;
    other.score = __shfl_xor_sync(kAllLanes, winner.score, distance);
    other.index = __shfl_xor_sync(kAllLanes, winner.index, distance);
    if (other.beats(winner)) winner = other;
  }
  const bool mine = winner.index >= 0 ? winner.index == best.index : lane == 0;
  if (mine) store_fit<T>(params, pose, best);
}

}  // namespace

void fit_pose_templates_cuda(const FitPoseTemplatesParams& params, cudaStream_t stream) {
  const auto kernel = params.dtype == DType::kDouble ? fit_poses<double> : fit_poses<float>;
  launch(kernel, dim3(blocks_for(params.poses, kThreads / kWarpSize)), dim3(kThreads), stream, params);
}

}  // namespace pose2seg
