#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// Every op as Python sees it; pose2seg_ops/<op>.py documents the arguments.

namespace pose2seg {

using Size = std::array<int64_t, 2>;  // height, width

at::Tensor affine_align(const at::Tensor& input, const at::Tensor& matrices, const at::Tensor& batch_index,
                        Size output_size, const std::string& convention);

at::Tensor skeleton_maps(const at::Tensor& keypoints, Size output_size,
                         const std::vector<std::pair<int64_t, int64_t>>& limbs, double sigma,
                         double limb_width, int64_t stride, bool signed_visibility,
                         std::optional<at::ScalarType> dtype);

std::tuple<at::Tensor, at::Tensor, at::Tensor> fit_pose_templates(const at::Tensor& keypoints,
                                                                  const at::Tensor& templates,
                                                                  Size source_size, Size output_size,
                                                                  const std::string& score);

std::vector<at::Tensor> paste_masks(const at::Tensor& probabilities, const at::Tensor& matrices,
                                    const at::Tensor& batch_index, const std::vector<Size>& image_sizes,
                                    double threshold);

std::tuple<at::Tensor, at::Tensor> letterbox(const std::vector<at::Tensor>& images, Size size,
                                             const std::array<double, 3>& mean,
                                             const std::array<double, 3>& std);

}  // namespace pose2seg
