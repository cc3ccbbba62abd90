#include "core/letterbox.h"

#include <ATen/Parallel.h>

// Reads the four taps of every output pixel, writes each output once. Threads share out the output rows.

namespace pose2seg {

void letterbox_cpu(const LetterboxParams& params) {
  at::parallel_for(0, params.image_count * params.height, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t index = i / params.height, row = i % params.height;
      for (int64_t column = 0; column < params.width; ++column)
        letterbox_pixel(params, params.images[index], index, column, row);
    }
  });
}

}  // namespace pose2seg
