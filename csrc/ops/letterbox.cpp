#include "core/letterbox.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/centred_resize.h"
#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/output_tensor.h"

namespace pose2seg {
namespace {

void check_image(const Tensor& image, const Tensor& first) {
  require<TypeError>(image.dtype == ScalarType::kByte, "images must be uint8, got ", dtype_name(image.dtype));
  check_shape(image, "images", "(H, W, 3) each", {-1, -1, 3});
  check_device(image, "images");
  check_same_device(image, "images", first, "the first one");
  require<ValueError>(image.numel() > 0, "images must have a positive height and width, got ", image.size(0),
                      " x ", image.size(1));
}

LetterboxImage describe(const Tensor& image, Sizes size) {
  LetterboxImage described = {};
  described.pixels = image.const_data<uint8_t>();
  described.height = image.size(0);
  described.width = image.size(1);
  std::copy_n(image.strides().begin(), 3, described.strides);
  const auto height = static_cast<double>(image.size(0)), width = static_cast<double>(image.size(1));
  const auto out_height = static_cast<double>(size[0]), out_width = static_cast<double>(size[1]);
  const CentredResize resize = centred_resize(height, width, out_height, out_width);
  const double step = 1 / resize.scale;
  described.step = static_cast<float>(step);
  described.left = static_cast<float>((width - step * out_width) / 2);
  described.top = static_cast<float>((height - step * out_height) / 2);
  described.scale = static_cast<float>(resize.scale);
  described.shift_x = static_cast<float>(resize.shift_x);
  described.shift_y = static_cast<float>(resize.shift_y);
  return described;
}

}  // namespace

std::tuple<Tensor, Tensor> letterbox(const Tensor* out, std::span<const Tensor> images, Sizes size,
                                     std::span<const double> mean, std::span<const double> std,
                                     ScalarType dtype, bool channels_last) {
  require<ValueError>(!images.empty(), "images must hold at least one image, got none");
  for (const Tensor& image : images) check_image(image, images.front());
  check_size(size, "size");
  require<ValueError>(mean.size() == 3 && std.size() == 3, "mean and std must have 3 channels, got ",
                      mean.size(), " and ", std.size());
  require<TypeError>(
      dtype == ScalarType::kFloat || dtype == ScalarType::kHalf || dtype == ScalarType::kBFloat16,
      "dtype must be float32, float16 or bfloat16, got ", dtype_name(dtype));
  LetterboxParams params = {};
  for (int channel = 0; channel < 3; ++channel) {
    require<ValueError>(std::isfinite(mean[channel]), "mean must be finite, got ", mean[channel],
                        " for channel ", channel);
    require<ValueError>(std[channel] > 0 && std::isfinite(std[channel]),
                        "std must be positive and finite, got ", std[channel], " for channel ", channel);
    params.multiply[channel] = static_cast<float>(1 / (255 * std[channel]));
    params.add[channel] = static_cast<float>(-mean[channel] / std[channel]);
    require<ValueError>(std::isfinite(params.multiply[channel]) && std::isfinite(params.add[channel]),
                        "mean and std must give values that float32 holds, got ", mean[channel], " and ",
                        std[channel], " for channel ", channel);
  }

  std::vector<LetterboxImage> described;
  for (const Tensor& image : images) described.push_back(describe(image, size));
  const Device device = images.front().device;
  const auto count = static_cast<int64_t>(images.size());
  const Layout layout = channels_last ? Layout::kChannelsLast : Layout::kContiguous;
  const auto output = output_tensor(out, {count, 3, size[0], size[1]}, dtype, device, layout);
  const auto matrices = empty({count, 2, 3}, ScalarType::kFloat, device);
  params.images = described.data();
  params.image_count = count;
  params.output = output.data;
  std::copy_n(output.strides().begin(), 4, params.output_strides);
  params.matrices = matrices.mutable_data<float>();
  params.dtype = dtype_of(output);
  params.height = size[0];
  params.width = size[1];
  run_on_device_of(output, params, letterbox_cpu, CUDA_KERNEL(letterbox_cuda));
  return {output, matrices};
}

}  // namespace pose2seg
