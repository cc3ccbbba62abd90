#include "ops/rle.h"

#include <algorithm>
#include <string>

#include "core/run_length_writer.h"
#include "cpu/parallel.h"
#include "ops/errors.h"
#include "ops/runtime.h"

namespace pose2seg {
namespace {

// The silhouette of a person typically has two to four boundaries in each column that it crosses.
constexpr int64_t kExpectedPerColumn = 4;

// Encodes the boundaries of each mask as COCO characters.
std::vector<std::string> encode(const std::vector<MaskSize>& sizes,
                                const std::vector<std::span<const uint32_t>>& boundaries) {
  std::vector<std::string> encoded(sizes.size());
  const ReleasedGil released;
  parallel_for(0, static_cast<int64_t>(sizes.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto append = [&](char character) { encoded[i].push_back(character); };
      RunLengthWriter(append).write(boundaries[i].data(), static_cast<int64_t>(boundaries[i].size()),
                                    static_cast<uint32_t>(sizes[i].height * sizes[i].width));
    }
  });
  return encoded;
}

}  // namespace

void check_countable(const MaskSize& size, const char* name) {
  require<ValueError>(size.height == 0 || size.width <= INT32_MAX / size.height, name,
                      " must have fewer than 2^31 pixels each, got ", size.height, " x ", size.width);
}

DeviceBoundaries find_on_device(const std::vector<MaskSize>& sizes, const Device& device,
                                const FindBoundaries& find) {
  const auto masks = static_cast<int64_t>(sizes.size());
  std::vector<int64_t> starts{0};  // the first stripe of each mask
  for (const MaskSize& size : sizes) starts.push_back(starts.back() + stripe_count(size.height, size.width));
  const int64_t stripes = starts.back();
  const Tensor scratch = empty({stripes * (1 + kStripeThreads)}, ScalarType::kInt, device);
  for (int64_t per_column = kExpectedPerColumn;;) {
    const int64_t per_stripe = kStripeWidth * per_column;
    const Tensor buffer = empty({masks + stripes * per_stripe}, ScalarType::kInt, device);
    MaskBoundaries output = {};
    output.masks = masks;
    output.counts = reinterpret_cast<uint32_t*>(buffer.mutable_data<int32_t>());
    output.boundaries = output.counts + masks;
    output.per_column = per_column;
    output.stripe_counts = reinterpret_cast<uint32_t*>(scratch.mutable_data<int32_t>());
    output.ranks = output.stripe_counts + stripes;
    find(output);
    DeviceBoundaries found = {to_cpu(buffer), {}};
    const auto* counts = reinterpret_cast<const uint32_t*>(found.host.const_data<int32_t>());
    int64_t needed = 0;
    for (int64_t i = 0; i < masks; ++i) {
      const int64_t columns = kStripeWidth * (starts[i + 1] - starts[i]);
      needed = std::max(needed, (counts[i] + columns - 1) / columns);
      found.of_mask.emplace_back(counts + masks + starts[i] * per_stripe, counts[i]);
    }
    if (needed <= per_column) return found;
    per_column = needed;
  }
}

std::vector<std::string> run_length_encode(const std::vector<MaskSize>& sizes, const Device& device,
                                           const FindBoundaries& find) {
  if (sizes.empty()) return {};
  if (device.type != DeviceType::kCpu) return encode(sizes, find_on_device(sizes, device, find).of_mask);
  std::vector<std::vector<uint32_t>> found(sizes.size());
  MaskBoundaries output = {};
  output.masks = static_cast<int64_t>(sizes.size());
  output.found = found.data();
  find(output);
  return encode(sizes, {found.begin(), found.end()});
}

}  // namespace pose2seg
