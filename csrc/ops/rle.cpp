#include "ops/rle.h"

#include <algorithm>
#include <string>

#include "ops/device.h"
#include "ops/errors.h"
#include "ops/runtime.h"

namespace pose2seg {
namespace {

// The silhouette of a person typically has two to four boundaries in each column that it crosses.
constexpr int64_t kExpectedPerColumn = 4;

// Encodes the runs of each mask on the device of `tensor`, given the numbers of their characters on the host,
// and copies no more than these.
std::vector<std::string> characters_of(std::vector<MaskRuns>& runs, const uint32_t* lengths,
                                       const Tensor& tensor, const EncodeRuns& encode) {
  const auto masks = static_cast<int64_t>(runs.size());
  int64_t total = 0;
  for (int64_t i = 0; i < masks; ++i) total += lengths[i];
  const Tensor characters = empty({total}, ScalarType::kByte, tensor.device);
  char* to = reinterpret_cast<char*>(characters.mutable_data<uint8_t>());
  for (int64_t i = 0; i < masks; to += lengths[i++]) runs[i].characters = to;
  encode(tensor, {runs.data(), masks});
  const Tensor host = to_cpu(characters);
  const char* from = reinterpret_cast<const char*>(host.const_data<uint8_t>());
  std::vector<std::string> encoded;
  for (int64_t i = 0; i < masks; from += lengths[i++]) encoded.emplace_back(from, lengths[i]);
  return encoded;
}

}  // namespace

void check_countable(const MaskSize& size, const char* name) {
  require<ValueError>(size.height == 0 || size.width <= INT32_MAX / size.height, name,
                      " must have fewer than 2^31 pixels each, got ", size.height, " x ", size.width);
}

std::vector<std::string> encode_on_device(const std::vector<MaskSize>& sizes, const Device& device,
                                          const FindBoundaries& find, const EncodeRuns& encode) {
  const auto masks = static_cast<int64_t>(sizes.size());
  std::vector<int64_t> starts{0};  // the first stripe of each mask
  for (const MaskSize& size : sizes) starts.push_back(starts.back() + stripe_count(size.height, size.width));
  const int64_t stripes = starts.back();
  const Tensor scratch = empty({stripes * (1 + kStripeThreads)}, ScalarType::kInt, device);
  const Tensor numbers = empty({2, masks}, ScalarType::kInt, device);  // of boundaries and characters
  auto* counts = reinterpret_cast<uint32_t*>(numbers.mutable_data<int32_t>());
  std::vector<MaskRuns> runs(sizes.size());
  for (int64_t per_column = kExpectedPerColumn;;) {
    const int64_t per_stripe = kStripeWidth * per_column;
    const Tensor buffer = empty({stripes * per_stripe}, ScalarType::kInt, device);
    MaskBoundaries output = {};
    output.masks = masks;
    output.counts = counts;
    output.boundaries = reinterpret_cast<uint32_t*>(buffer.mutable_data<int32_t>());
    output.per_column = per_column;
    output.stripe_counts = reinterpret_cast<uint32_t*>(scratch.mutable_data<int32_t>());
    output.ranks = output.stripe_counts + stripes;
    find(output);
    for (int64_t i = 0; i < masks; ++i)
      runs[i] = {output.boundaries + starts[i] * per_stripe,
                 counts + i,
                 static_cast<uint32_t>((starts[i + 1] - starts[i]) * per_stripe),
                 static_cast<uint32_t>(sizes[i].height * sizes[i].width),
                 counts + masks + i,
                 nullptr};
    encode(numbers, {runs.data(), masks});
    const Tensor host = to_cpu(numbers);
    const auto* found = reinterpret_cast<const uint32_t*>(host.const_data<int32_t>());
    int64_t needed = 0;
    for (int64_t i = 0; i < masks; ++i) {
      const int64_t columns = kStripeWidth * (starts[i + 1] - starts[i]);
      needed = std::max(needed, (found[i] + columns - 1) / columns);
    }
    if (needed <= per_column) return characters_of(runs, found + masks, numbers, encode);
    per_column = needed;
  }
}

std::vector<std::string> run_length_encode(const std::vector<MaskSize>& sizes, const Device& device,
                                           const FindBoundaries& find) {
  if (sizes.empty()) return {};
  if (device.type != DeviceType::kCpu)
    return encode_on_device(sizes, device, find, [](const Tensor& tensor, const RunLengthsParams& params) {
      run_on_device_of<RunLengthsParams>(tensor, params, nullptr, CUDA_KERNEL(encode_runs_cuda));
    });
  std::vector<std::string> encoded(sizes.size());
  MaskBoundaries output = {};
  output.masks = static_cast<int64_t>(sizes.size());
  output.encoded = encoded.data();
  find(output);
  return encoded;
}

}  // namespace pose2seg
