#pragma once

#include <cmath>
#include <cstdint>

#include "core/affine.h"
#include "core/bilinear.h"
#include "core/dtype.h"
#include "core/rounded.h"

struct CUstream_st;

namespace pose2seg {

// One image of a ragged batch: BGR bytes, any strides.
struct LetterboxImage {
  const uint8_t* pixels;
  int64_t height, width;
  int64_t strides[3];  // row, column, channel
  float step;          // output pixel -> image: x = step * column + left, y = step * row + top
  float left, top;
  float scale, shift_x, shift_y;  // image -> output
};

struct LetterboxParams {
  const LetterboxImage* images;  // on the host
  int64_t image_count;
  void* output;  // (images, 3, height, width), RGB
  int64_t output_strides[4];
  int64_t height, width;
  float* matrices;            // (images, 2, 3)
  float multiply[3], add[3];  // output = multiply * byte + add, by RGB channel
  DType dtype;                // of the output; not double
};

// The taps along one axis, which all pixels of a column or of a row share.
HOST_DEVICE BilinearTaps<float> column_taps(const LetterboxImage& image, int64_t column) {
  return bilinear_taps(rounded_product(image.step, float(column)) + image.left, 0.0f, int64_t(1),
                       image.width);
}

HOST_DEVICE BilinearTaps<float> row_taps(const LetterboxImage& image, int64_t row) {
  return bilinear_taps(0.0f, rounded_product(image.step, float(row)) + image.top, image.height, int64_t(1));
}

// Computes all three channels of one output pixel.
template <class Out>
HOST_DEVICE void letterbox_pixel(const LetterboxParams& params, const LetterboxImage& image,
                                 const BilinearTaps<float>& across, const BilinearTaps<float>& down,
                                 Out* output) {
  const BilinearTaps<float> taps = {across.x,        down.y,           across.right,   down.lower,
                                    across.has_left, across.has_right, down.has_upper, down.has_lower};
  const int64_t row = image.strides[0], column = image.strides[1];
  const uint8_t* blue = image.pixels + taps.y * row + taps.x * column;
  const auto weights = bilinear_weights(taps.right, taps.lower);
  const bool all = taps.all();
  for (int rgb = 0; rgb < 3; ++rgb) {
    const uint8_t* upper_left = blue + (2 - rgb) * image.strides[2];
    const auto interpolate = [&](const auto& has) {
      const auto value = [&](Tap tap, int64_t offset) { return has(tap) ? float(upper_left[offset]) : 0; };
      float sum = weights.of[kUpperLeft] * value(kUpperLeft, 0);
      sum += weights.of[kUpperRight] * value(kUpperRight, column);
      sum += weights.of[kLowerLeft] * value(kLowerLeft, row);
      return sum + weights.of[kLowerRight] * value(kLowerRight, row + column);
    };
    const float sum =
        all ? interpolate([](Tap) { return true; }) : interpolate([&](Tap tap) { return taps.has(tap); });
    output[rgb * params.output_strides[1]] = Out(params.multiply[rgb] * sum + params.add[rgb]);
  }
}

HOST_DEVICE void store_matrix(const LetterboxParams& params, const LetterboxImage& image, int64_t index) {
  store_affine(Affine<float>{image.scale, 0, image.shift_x, 0, image.scale, image.shift_y},
               params.matrices + index * 6);
}

void letterbox_cpu(const LetterboxParams& params);
void letterbox_cuda(const LetterboxParams& params, CUstream_st* stream);

}  // namespace pose2seg
