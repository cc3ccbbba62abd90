#include "arguments.h"
#include "ops/ops.h"

// The best of all templates is the best of those that are fitted one by one; of equal ones, the first.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const at::ScalarType dtype = arguments.PickValueInArray({at::kFloat, at::kDouble});
  const int64_t poses = arguments.count(0, 3), count = arguments.count(0, 6), joints = arguments.count(0, 8);
  const at::Tensor keypoints = arguments.laid_out(arguments.numbers({poses, joints, 3}, dtype));
  const at::Tensor templates = arguments.numbers({count, joints, 3}, dtype);
  const auto side = [&arguments] {
    return arguments.PickValueInArray<int64_t>({1, 7, 64, 513, 1 << 30, INT64_MAX});
  };
  const int64_t source[] = {side(), side()}, output[] = {side(), side()};
  const char* kind = arguments.one_of({"overlap", "norm"});

  const auto fit = [&](const at::Tensor& few) {
    return pose2seg::fit_pose_templates(keypoints, few, source, output, kind);
  };
  const auto [matrices, index, score] = fit(templates);
  auto [best_matrices, best_index, best_score] = fit(templates.narrow(0, 0, 0));
  for (int64_t i = 0; i < count; ++i) {
    const auto [alone_matrices, alone_index, alone_score] = fit(templates.narrow(0, i, 1));
    // Scores are compared in float64 within, and rounded only then.
    const at::Tensor chosen = index == i;
    fuzz::require((alone_score <= score).all().item<bool>(), "no template alone is better than the best");
    best_matrices = at::where(chosen.view({-1, 1, 1}), alone_matrices, best_matrices);
    best_index = at::where(chosen, alone_index + i, best_index);
    best_score = at::where(chosen, alone_score, best_score);
  }
  fuzz::require(fuzz::same(matrices, best_matrices), "the matrix is that of the chosen template");
  fuzz::require(fuzz::same(index, best_index), "the chosen template fits");
  fuzz::require(fuzz::same(score, best_score), "the score is that of the chosen template");
  fuzz::require(fuzz::within(score, 1) && (score >= 0).all().item<bool>(), "scores are between 0 and 1");
  return 0;
}
