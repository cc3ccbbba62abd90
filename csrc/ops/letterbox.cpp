#include "core/letterbox.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "core/centred_resize.h"
#include "ops/checks.h"
#include "ops/device.h"
#include "ops/fresh_output.h"
#include "ops/ops.h"

namespace pose2seg {
namespace {

void check_image(const at::Tensor& image, const at::Tensor& first) {
  TORCH_CHECK_TYPE(image.scalar_type() == at::kByte, "images must be uint8, got ",
                   dtype_name(image.scalar_type()));
  check_shape(image, "images", "(H, W, 3) each", {-1, -1, 3});
  check_device(image, "images");
  check_same_device(image, "images", first, "the first one");
  TORCH_CHECK_VALUE(image.numel() > 0, "images must have a positive height and width, got ", image.size(0),
                    " x ", image.size(1));
}

LetterboxImage describe(const at::Tensor& image, at::IntArrayRef size) {
  LetterboxImage described = {};
  described.pixels = image.const_data_ptr<uint8_t>();
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

std::tuple<at::Tensor, at::Tensor> letterbox(at::TensorList images, at::IntArrayRef size,
                                             at::ArrayRef<double> mean, at::ArrayRef<double> std,
                                             at::ScalarType dtype, bool channels_last) {
  TORCH_CHECK_VALUE(!images.empty(), "images must hold at least one image, got none");
  for (const at::Tensor& image : images) check_image(image, images.front());
  check_size(size, "size");
  TORCH_CHECK_VALUE(mean.size() == 3 && std.size() == 3, "mean and std must have 3 channels, got ",
                    mean.size(), " and ", std.size());
  TORCH_CHECK_TYPE(dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16,
                   "dtype must be float32, float16 or bfloat16, got ", dtype_name(dtype));
  LetterboxParams params = {};
  for (int channel = 0; channel < 3; ++channel) {
    TORCH_CHECK_VALUE(std::isfinite(mean[channel]), "mean must be finite, got ", mean[channel],
                      " for channel ", channel);
    TORCH_CHECK_VALUE(std[channel] > 0 && std::isfinite(std[channel]),
                      "std must be positive and finite, got ", std[channel], " for channel ", channel);
    params.multiply[channel] = static_cast<float>(1 / (255 * std[channel]));
    params.add[channel] = static_cast<float>(-mean[channel] / std[channel]);
    TORCH_CHECK_VALUE(std::isfinite(params.multiply[channel]) && std::isfinite(params.add[channel]),
                      "mean and std must give values that float32 holds, got ", mean[channel], " and ",
                      std[channel], " for channel ", channel);
  }

  std::vector<LetterboxImage> described;
  for (const at::Tensor& image : images) described.push_back(describe(image, size));
  const auto options = images.front().options().dtype(dtype);
  const auto count = static_cast<int64_t>(images.size());
  const auto format = channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  const auto output = fresh_output({count, 3, size[0], size[1]}, options.memory_format(format));
  const auto matrices = at::empty({count, 2, 3}, options.dtype(at::kFloat));
  params.images = described.data();
  params.image_count = count;
  params.output = output.mutable_data_ptr();
  std::copy_n(output.strides().begin(), 4, params.output_strides);
  params.matrices = matrices.mutable_data_ptr<float>();
  params.dtype = dtype_of(output);
  params.height = size[0];
  params.width = size[1];
  run_on_device_of(output, params, letterbox_cpu, CUDA_KERNEL(letterbox_cuda));
  return {output, matrices};
}

}  // namespace pose2seg
