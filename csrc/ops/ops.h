#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "ops/tensor.h"

// Every op as Python and the dispatcher see it; pose2seg_ops/<op>.py documents the arguments.
// Sizes are (height, width); lists of pairs are flat. An op that takes `out` stores its result there, or in a
// new tensor if `out` is null.

namespace pose2seg {

Tensor affine_align(const Tensor* out, const Tensor& input, const Tensor& matrices, const Tensor& batch_index,
                    Sizes output_size, std::string_view convention, int64_t sampling_ratio = 1,
                    std::string_view interpolation = "bilinear", std::string_view padding_mode = "zeros",
                    double fill = 0);

Tensor affine_align_backward_input(const Tensor& grad, const Tensor& matrices, const Tensor& batch_index,
                                   Sizes input_size, bool channels_last, std::string_view convention,
                                   int64_t sampling_ratio = 1, std::string_view interpolation = "bilinear",
                                   std::string_view padding_mode = "zeros", double fill = 0);

Tensor affine_align_backward_matrices(const Tensor& grad, const Tensor& input, const Tensor& matrices,
                                      const Tensor& batch_index, std::string_view convention,
                                      int64_t sampling_ratio = 1, std::string_view interpolation = "bilinear",
                                      std::string_view padding_mode = "zeros", double fill = 0);

Tensor skeleton_maps(const Tensor* out, const Tensor& keypoints, Sizes output_size, Limbs limbs, double sigma,
                     double limb_width, int64_t stride, bool signed_visibility, std::string_view limb_overlap,
                     std::optional<ScalarType> dtype);

Tensor skeleton_maps_backward(const Tensor& grad, const Tensor& keypoints, Limbs limbs, double sigma,
                              double limb_width, int64_t stride, bool signed_visibility,
                              std::string_view limb_overlap);

Tensor align_with_skeleton(const Tensor* out, const Tensor& input, const Tensor& keypoints,
                           const Tensor& matrices, const Tensor& batch_index, Sizes output_size,
                           std::string_view convention, Limbs limbs, double sigma, double limb_width,
                           bool signed_visibility);

std::tuple<Tensor, Tensor, Tensor> fit_pose_templates(const Tensor& keypoints, const Tensor& templates,
                                                      Sizes source_size, Sizes output_size,
                                                      std::string_view score);

// `out` holds the masks of each image.
std::vector<Tensor> paste_masks(const std::span<const Tensor>* out, const Tensor& probabilities,
                                const Tensor& matrices, const Tensor& batch_index, ImageSizes image_sizes,
                                std::optional<double> threshold);

// Returns the COCO characters of each mask.
std::vector<std::string> paste_rle(const Tensor& probabilities, const Tensor& matrices,
                                   const Tensor& batch_index, ImageSizes image_sizes, double threshold);

std::vector<std::string> encode_rle(const Tensor& masks);

// `out` holds the batch.
std::tuple<Tensor, Tensor> letterbox(const Tensor* out, std::span<const Tensor> images, Sizes size,
                                     std::span<const double> mean, std::span<const double> std,
                                     ScalarType dtype, bool channels_last);

}  // namespace pose2seg
