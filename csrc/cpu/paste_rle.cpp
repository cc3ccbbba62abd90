#include "core/paste_rle.h"

#include <cstring>
#include <memory>

#include "cpu/boundaries.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"
#include "cpu/paste_line.h"

// Processes the columns of every footprint. Only one column at a time and the boundaries found so far are in
// memory. Threads divide the stripes of all masks.

namespace pose2seg {
namespace {

// Appends origin + i for every pixel i that differs from the pixel before it; pixels outside count as 0.
void append_changes(const bool* pixels, int64_t count, int64_t origin, std::vector<uint32_t>& found) {
  const auto next_change = [&](const bool* from, bool current) {
    return static_cast<const bool*>(std::memchr(from, !current, pixels + count - from));
  };
  bool current = false;
  for (const bool* at = pixels; (at = next_change(at, current)) != nullptr; current = !current)
    found.push_back(static_cast<uint32_t>(origin + (at - pixels)));
  if (current) found.push_back(static_cast<uint32_t>(origin + count));
}

template <class T>
void walk_stripe(const PasteTarget& target, const LinePaster<T>& paster, int64_t stripe,
                 std::vector<uint32_t>& found) {
  const Footprint& box = paster.footprint;
  const int64_t first = std::max(box.left, stripe * kStripeWidth);
  const int64_t last = std::min(box.right, (stripe + 1) * kStripeWidth);
  found.reserve(4 * kStripeWidth);
  const std::unique_ptr<bool[]> pixels(new bool[box.bottom - box.top]);
  for (int64_t column = first; column < last; ++column) {
    paster.paste(column, pixels.get());
    append_changes(pixels.get(), box.bottom - box.top, column * target.height + box.top, found);
  }
}

MaskStripes stripes_of(const Footprint& box) {
  if (box.empty()) return {0, 0};
  const int64_t first = box.left / kStripeWidth;
  return {first, (box.right - 1) / kStripeWidth + 1 - first};
}

template <class T>
void paste_all(const PasteRleParams& params) {
  std::vector<std::unique_ptr<LinePaster<T>>> pasters(params.target_count);
  parallel_for(0, params.target_count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      pasters[i] = std::make_unique<LinePaster<T>>(params, params.targets[i], Walk::kColumns);
  });
  encode_boundaries(
      params.output, [&](int64_t mask) { return stripes_of(pasters[mask]->footprint); },
      [&](int64_t mask) { return params.targets[mask].height * params.targets[mask].width; },
      [&](int64_t mask, int64_t stripe, std::vector<uint32_t>& found) {
        walk_stripe(params.targets[mask], *pasters[mask], stripe, found);
      });
}

}  // namespace

void paste_rle_cpu(const PasteRleParams& params) {
  dispatch_floating(params.dtype, [&](auto type) { paste_all<decltype(type)>(params); });
}

}  // namespace pose2seg
