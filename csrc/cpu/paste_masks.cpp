#include "core/paste_masks.h"

#include "cpu/dispatch.h"
#include "cpu/parallel.h"
#include "cpu/paste_line.h"

// Writes every mask or map of opacities once, row by row, and samples only inside its footprint. Threads
// divide the rows of all masks, so that a single mask keeps all threads busy.

namespace pose2seg {
namespace {

// Numbers the rows of all masks consecutively: target i has those from first_rows[i] to first_rows[i + 1].
std::vector<int64_t> number_rows(const PasteParams& params) {
  std::vector<int64_t> first_rows{0};
  for (int64_t i = 0; i < params.target_count; ++i)
    first_rows.push_back(first_rows.back() + params.targets[i].height);
  return first_rows;
}

template <class T, class Pixel>
void paste_row(const LinePaster<T, Pixel>& paster, const PasteTarget& target, int64_t row, Pixel* pixels) {
  const Footprint& box = paster.footprint;
  if (row < box.top || row >= box.bottom || box.empty()) {
    std::fill_n(pixels, target.width, Pixel(0));
    return;
  }
  std::fill_n(pixels, box.left, Pixel(0));
  paster.paste(row, pixels + box.left);
  std::fill(pixels + box.right, pixels + target.width, Pixel(0));
}

template <class T, class Pixel>
void paste_rows(const PasteParams& params, const std::vector<int64_t>& first_rows, int64_t begin,
                int64_t end) {
  int64_t i = std::upper_bound(first_rows.begin(), first_rows.end(), begin) - first_rows.begin() - 1;
  for (; i < params.target_count && first_rows[i] < end; ++i) {
    const PasteTarget& target = params.targets[i];
    const LinePaster<T, Pixel> paster(params, target, Walk::kRows);
    const int64_t last = std::min(end - first_rows[i], target.height);
    for (int64_t row = std::max<int64_t>(begin - first_rows[i], 0); row < last; ++row)
      paste_row(paster, target, row, static_cast<Pixel*>(target.pixels) + row * target.width);
  }
}

}  // namespace

void paste_masks_cpu(const PasteParams& params) {
  const std::vector<int64_t> first_rows = number_rows(params);
  dispatch_floating(params.dtype, [&](auto type) {
    parallel_for(0, first_rows.back(), 32, [&](int64_t begin, int64_t end) {
      if (params.opacities)
        paste_rows<decltype(type), uint8_t>(params, first_rows, begin, end);
      else
        paste_rows<decltype(type), bool>(params, first_rows, begin, end);
    });
  });
}

}  // namespace pose2seg
