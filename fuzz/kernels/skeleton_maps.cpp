#include "arguments.h"
#include "ops/ops.h"

// Confidences and unit vectors must be within [-1, 1] and never NaN; the visibility must have no gradient.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::ScalarType dtype = arguments.PickValueInArray({fuzz::kFloat, fuzz::kDouble});
  const int64_t maps = arguments.count(0, 3), people = arguments.count(0, 3), joints = arguments.count(0, 6);
  const fuzz::Tensor keypoints = arguments.laid_out(arguments.numbers({maps, people, joints, 3}, dtype));
  const std::vector<int64_t> limbs = arguments.limbs(joints);
  const auto positive = [&arguments] {
    const double number = std::abs(arguments.number());
    return number > 0 && std::isfinite(number) ? number : 1;
  };
  const double sigma = positive(), limb_width = positive();
  const int64_t stride = arguments.PickValueInArray<int64_t>({1, 2, 4, 1000, INT64_MAX});
  const bool is_signed = arguments.ConsumeBool();
  const char* overlap = arguments.one_of({"last", "mean"});

  const int64_t output_size[] = {arguments.count(1, 40), arguments.count(1, 40)};
  const fuzz::Tensor output =
      pose2seg::skeleton_maps(nullptr, keypoints, output_size, limbs, sigma, limb_width, stride, is_signed,
                              overlap, arguments.dtype());
  fuzz::require(fuzz::within(output, 1.01), "maps are between -1 and 1");

  const fuzz::Tensor grad =
      arguments.laid_out(arguments.numbers(fuzz::to_vector(output.sizes()), arguments.dtype()));
  const fuzz::Tensor grad_keypoints =
      pose2seg::skeleton_maps_backward(grad, keypoints, limbs, sigma, limb_width, stride, is_signed, overlap);
  fuzz::require(fuzz::within(fuzz::select(grad_keypoints, 3, 2), 0), "the visibility has no gradient");
  return 0;
}
