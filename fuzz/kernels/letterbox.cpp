#include "arguments.h"
#include "ops/ops.h"

// Values must stay between black and white, and must not depend on the layout of the images or of the batch.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::ScalarType dtype = arguments.PickValueInArray({fuzz::kFloat, fuzz::kHalf, fuzz::kBFloat16});
  const int64_t output[] = {arguments.count(1, 40), arguments.count(1, 40)};
  const bool channels_last = arguments.ConsumeBool();
  std::vector<fuzz::Tensor> images, dense;
  for (int64_t i = arguments.count(1, 3); i > 0; --i) {
    const auto bytes = arguments.ConsumeBytes<uint8_t>(arguments.count(1, 40));
    dense.push_back(fuzz::make({arguments.count(1, 70), arguments.count(1, 70), 3}, fuzz::kByte,
                               [&bytes](int64_t k) { return bytes.empty() ? 0 : bytes[k % bytes.size()]; }));
    images.push_back(arguments.laid_out(dense.back()));
  }
  const std::vector<double> mean = {0.5, 0.25, 0}, std = {0.25, 0.5, 1};  // exact in every dtype
  const auto [batch, matrices] =
      pose2seg::letterbox(nullptr, images, output, mean, std, dtype, channels_last);
  const auto [other, others] = pose2seg::letterbox(nullptr, dense, output, mean, std, dtype, !channels_last);
  fuzz::require(fuzz::same(batch, other), "the result does not depend on the layout");
  fuzz::require(fuzz::same(matrices, others) && fuzz::within(matrices, 1e6), "matrices are finite");
  constexpr double kMiddle[] = {0, 0.5, 0.5}, kReach[] = {2, 1, 0.5};
  for (int64_t channel = 0; channel < 3; ++channel)
    for (const double value : fuzz::values(fuzz::select(batch, 1, channel)))
      fuzz::require(std::abs(value - kMiddle[channel]) / kReach[channel] <= 1.01, "between black and white");
  return 0;
}
