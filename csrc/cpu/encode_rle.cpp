#include "core/encode_rle.h"

#include <array>
#include <cstring>

#include "cpu/boundaries.h"

// Reads every mask once, in stripes of columns, row by row. Eight pixels at a time are compared with the
// eight above them; if they are equal, which is by far the most common case, there is nothing else to do.

namespace pose2seg {
namespace {

constexpr int64_t kWord = 8;

void walk_stripe(const EncodeRleParams& p, const uint8_t* mask, int64_t stripe,
                 std::vector<uint32_t>& found) {
  static constexpr uint8_t kOutside[kStripeWidth] = {};
  const int64_t first = stripe * kStripeWidth, columns = std::min(kStripeWidth, p.width - first);
  std::array<std::vector<uint32_t>, kStripeWidth> by_column;
  const uint8_t* above = kOutside;
  for (int64_t row = 0; row <= p.height; ++row) {
    const uint8_t* here = row < p.height ? mask + row * p.strides[1] + first : kOutside;
    const auto compare = [&](int64_t x) {
      if ((here[x] != 0) != (above[x] != 0))
        by_column[x].push_back(static_cast<uint32_t>((first + x) * p.height + row));
    };
    int64_t x = 0;
    for (; x + kWord <= columns; x += kWord) {
      if (std::memcmp(here + x, above + x, kWord) == 0) continue;
      for (int64_t i = x; i < x + kWord; ++i) compare(i);
    }
    for (; x < columns; ++x) compare(x);
    above = here;
  }
  for (const auto& column : by_column) found.insert(found.end(), column.begin(), column.end());
}

}  // namespace

void encode_rle_cpu(const EncodeRleParams& params) {
  const bool has_pixels = params.height > 0 && params.width > 0;
  const MaskStripes all = {0, has_pixels ? stripe_count(params.height, params.width) : 0};
  encode_boundaries(
      params.output, [&](int64_t) { return all; }, [&](int64_t) { return params.height * params.width; },
      [&](int64_t mask, int64_t stripe, std::vector<uint32_t>& found) {
        walk_stripe(params, params.masks + mask * params.strides[0], stripe, found);
      });
}

}  // namespace pose2seg
