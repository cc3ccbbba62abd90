#include <functional>

#include "arguments.h"
#include "ops/ops.h"

// The best of all templates must be the best of those fitted one by one; of equal scores, the first.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::ScalarType dtype = arguments.PickValueInArray({fuzz::kFloat, fuzz::kDouble});
  const int64_t poses = arguments.count(0, 3), count = arguments.count(0, 6), joints = arguments.count(0, 8);
  const fuzz::Tensor keypoints = arguments.laid_out(arguments.numbers({poses, joints, 3}, dtype));
  const fuzz::Tensor templates = arguments.numbers({count, joints, 3}, dtype);
  const auto side = [&arguments] {
    return arguments.PickValueInArray<int64_t>({1, 7, 64, 513, 1 << 30, INT64_MAX});
  };
  const int64_t source[] = {side(), side()}, output[] = {side(), side()};
  const char* kind = arguments.one_of({"overlap", "norm"});

  const auto fit = [&](const fuzz::Tensor& few) {
    return pose2seg::fit_pose_templates(keypoints, few, source, output, kind);
  };
  const auto [matrices, index, score] = fit(templates);
  const std::vector<double> best = fuzz::values(score);
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<double> alone = fuzz::values(std::get<2>(fit(fuzz::narrow(templates, 0, i, 1))));
    // Scores are compared in float64 internally, and rounded only afterwards.
    fuzz::require(std::equal(alone.begin(), alone.end(), best.begin(), std::less_equal<>()),
                  "no template alone is better than the best");
  }
  for (int64_t pose = 0; pose < poses; ++pose) {
    const int64_t chosen = index.const_data<int64_t>()[pose];
    const bool is_template = 0 <= chosen && chosen < count;
    const auto [alone_matrices, alone_index, alone_score] =
        fit(is_template ? fuzz::narrow(templates, 0, chosen, 1) : fuzz::narrow(templates, 0, 0, 0));
    fuzz::require(fuzz::same(fuzz::select(matrices, 0, pose), fuzz::select(alone_matrices, 0, pose)),
                  "the matrix is that of the chosen template");
    fuzz::require(alone_index.const_data<int64_t>()[pose] == (is_template ? 0 : chosen),
                  "the chosen template fits");
    fuzz::require(fuzz::same(fuzz::select(score, 0, pose), fuzz::select(alone_score, 0, pose)),
                  "the score is that of the chosen template");
  }
  for (const double each : best) fuzz::require(0 <= each && each <= 1, "scores are between 0 and 1");
  return 0;
}
