#include "core/letterbox.h"

#include <vector>

#include "cpu/dispatch.h"
#include "cpu/parallel.h"

// Reads the four taps of every output pixel and writes each output once; padding rows are only written.
// Threads divide the output rows. The taps of the columns are computed once for all rows of an image.

namespace pose2seg {
namespace {

template <class Out>
void store_row(const LetterboxParams& params, const LetterboxImage& image,
               const std::vector<BilinearTaps<float>>& across, int64_t row, Out* output) {
  const BilinearTaps<float> down = row_taps(image, row);
  const int64_t step = params.output_strides[3];
  if (down.has_upper || down.has_lower) {
    for (int64_t column = 0; column < params.width; ++column)
      letterbox_pixel(params, image, across[column], down, output + column * step);
    return;
  }
  for (int rgb = 0; rgb < 3; ++rgb)
    for (int64_t column = 0; column < params.width; ++column)
      output[rgb * params.output_strides[1] + column * step] = Out(params.add[rgb]);
}

template <class Out>
void store_rows(const LetterboxParams& params, int64_t begin, int64_t end) {
  std::vector<BilinearTaps<float>> across(params.width);
  int64_t last = -1;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t index = i / params.height, row = i % params.height;
    const LetterboxImage& image = params.images[index];
    if (index != last)
      for (int64_t column = 0; column < params.width; ++column) across[column] = column_taps(image, column);
    last = index;
    if (row == 0) store_matrix(params, image, index);
    store_row(
        params, image, across, row,
        static_cast<Out*>(params.output) + index * params.output_strides[0] + row * params.output_strides[2]);
  }
}

}  // namespace

void letterbox_cpu(const LetterboxParams& params) {
  dispatch_floating(params.dtype, [&](auto type) {
    parallel_for(0, params.image_count * params.height, 8,
                 [&](int64_t begin, int64_t end) { store_rows<decltype(type)>(params, begin, end); });
  });
}

}  // namespace pose2seg
