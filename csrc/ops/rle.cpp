#include "ops/rle.h"

#include <algorithm>
#include <string>

#include "core/run_length_writer.h"
#include "cpu/parallel.h"
#include "ops/errors.h"
#include "ops/runtime.h"

namespace pose2seg {
namespace {

// A person's silhouette has two to four boundaries in the columns that it crosses.
constexpr int64_t kExpectedPerColumn = 4;

constexpr Device kCpu = {DeviceType::kCpu, 0};

// Of the masks that have pixels: those of height 0 have no memory to walk.
int64_t widest(const std::vector<MaskSize>& sizes) {
  int64_t width = 0;
  for (const MaskSize& size : sizes)
    if (size.height > 0) width = std::max(width, size.width);
  return width;
}

// Counts (masks,) and behind them boundaries (masks, capacity), on the CPU. How many boundaries there are is
// known only when they are found: the buffer is made for the usual number and copied to the host as a whole,
// which is the one time that the device is waited for; only masks with more of them are walked again.
std::pair<Tensor, int64_t> boundaries_on_host(const std::vector<MaskSize>& sizes, const Device& device,
                                              const std::function<void(const MaskBoundaries&)>& find) {
  const auto masks = static_cast<int64_t>(sizes.size());
  const int64_t width = widest(sizes), stripes = (width + kStripeWidth - 1) / kStripeWidth;
  if (width == 0) {
    const Tensor counts = empty({masks}, ScalarType::kInt, kCpu);
    fill_zeros(counts);
    return {counts, 0};
  }
  const Tensor scratch = empty({masks * stripes * (1 + kStripeThreads)}, ScalarType::kInt, device);
  for (int64_t capacity = kExpectedPerColumn * width;;) {
    const Tensor buffer = empty({masks * (1 + capacity)}, ScalarType::kInt, device);
    MaskBoundaries output = {};
    output.counts = reinterpret_cast<uint32_t*>(buffer.mutable_data<int32_t>());
    output.boundaries = output.counts + masks;
    output.capacity = capacity;
    output.masks = masks;
    output.stripes = stripes;
    output.stripe_counts = reinterpret_cast<uint32_t*>(scratch.mutable_data<int32_t>());
    output.ranks = output.stripe_counts + masks * stripes;
    find(output);
    const Tensor host = to_cpu(buffer);
    const auto* counts = reinterpret_cast<const uint32_t*>(host.const_data<int32_t>());
    const int64_t most = *std::max_element(counts, counts + masks);
    if (most <= capacity) return {host, capacity};
    capacity = most;
  }
}

}  // namespace

void check_countable(const MaskSize& size, const char* name) {
  require<ValueError>(size.height == 0 || size.width <= INT32_MAX / size.height, name,
                      " must have fewer than 2^31 pixels each, got ", size.height, " x ", size.width);
}

std::vector<std::string> run_length_encode(const std::vector<MaskSize>& sizes, const Device& device,
                                           const std::function<void(const MaskBoundaries&)>& find) {
  const auto masks = static_cast<int64_t>(sizes.size());
  std::vector<std::string> encoded(masks);
  if (masks == 0) return encoded;
  const auto [host, capacity] = boundaries_on_host(sizes, device, find);
  const auto* counts = reinterpret_cast<const uint32_t*>(host.const_data<int32_t>());
  const ReleasedGil released;
  parallel_for(0, masks, 16, [&, stride = capacity](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto append = [&](char character) { encoded[i].push_back(character); };
      RunLengthWriter(append).write(counts + masks + i * stride, counts[i],
                                    static_cast<uint32_t>(sizes[i].height * sizes[i].width));
    }
  });
  return encoded;
}

}  // namespace pose2seg
