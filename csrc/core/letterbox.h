#pragma once

#include <cmath>
#include <cstdint>

#include "core/bilinear.h"
#include "core/dtype.h"

struct CUstream_st;

namespace pose2seg {

// One image of a ragged batch: BGR bytes, any strides.
struct LetterboxImage {
  const uint8_t* pixels;
  int64_t height, width;
  int64_t strides[3];  // row, column, channel
  float step;          // output pixel -> image: x = step * column + left, y = step * row + top
  float left, top;
};

struct LetterboxParams {
  const LetterboxImage* images;  // on the host
  int64_t image_count;
  float* output;  // (images, 3, height, width), RGB
  int64_t height, width;
  float multiply[3], add[3];  // output = multiply * byte + add, by RGB channel
};

// All three channels of one output pixel.
HOST_DEVICE void letterbox_pixel(const LetterboxParams& params, const LetterboxImage& image, int64_t index,
                                 int64_t column, int64_t row) {
  const float x = image.step * float(column) + image.left, y = image.step * float(row) + image.top;
  const auto taps = bilinear_taps(x, y, image.height, image.width);
  const int64_t plane = params.height * params.width;
  float* output = params.output + index * 3 * plane + row * params.width + column;
  for (int rgb = 0; rgb < 3; ++rgb) {
    const uint8_t* channel = image.pixels + (2 - rgb) * image.strides[2];
    const auto value = [&](int64_t tap_x, int64_t tap_y) {
      return float(channel[tap_y * image.strides[0] + tap_x * image.strides[1]]);
    };
    output[rgb * plane] = params.multiply[rgb] * taps.interpolate(value) + params.add[rgb];
  }
}

void letterbox_cpu(const LetterboxParams& params);
void letterbox_cuda(const LetterboxParams& params, CUstream_st* stream);

}  // namespace pose2seg
