#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

// Every op as Python and the dispatcher see it; pose2seg_ops/<op>.py documents the arguments.
// Sizes are (height, width); lists of pairs are flat.

namespace pose2seg {

at::Tensor affine_align(const at::Tensor& input, const at::Tensor& matrices, const at::Tensor& batch_index,
                        at::IntArrayRef output_size, std::string_view convention);

at::Tensor affine_align_backward_input(const at::Tensor& grad, const at::Tensor& matrices,
                                       const at::Tensor& batch_index, at::IntArrayRef input_size,
                                       bool channels_last, std::string_view convention);

at::Tensor affine_align_backward_matrices(const at::Tensor& grad, const at::Tensor& input,
                                          const at::Tensor& matrices, const at::Tensor& batch_index,
                                          std::string_view convention);

at::Tensor skeleton_maps(const at::Tensor& keypoints, at::IntArrayRef output_size, at::IntArrayRef limbs,
                         double sigma, double limb_width, int64_t stride, bool signed_visibility,
                         std::string_view limb_overlap, std::optional<at::ScalarType> dtype);

at::Tensor skeleton_maps_backward(const at::Tensor& grad, const at::Tensor& keypoints, at::IntArrayRef limbs,
                                  double sigma, double limb_width, int64_t stride, bool signed_visibility,
                                  std::string_view limb_overlap);

at::Tensor align_with_skeleton(const at::Tensor& input, const at::Tensor& keypoints,
                               const at::Tensor& matrices, const at::Tensor& batch_index,
                               at::IntArrayRef output_size, std::string_view convention,
                               at::IntArrayRef limbs, double sigma, double limb_width,
                               bool signed_visibility);

std::tuple<at::Tensor, at::Tensor, at::Tensor> fit_pose_templates(const at::Tensor& keypoints,
                                                                  const at::Tensor& templates,
                                                                  at::IntArrayRef source_size,
                                                                  at::IntArrayRef output_size,
                                                                  std::string_view score);

std::vector<at::Tensor> paste_masks(const at::Tensor& probabilities, const at::Tensor& matrices,
                                    const at::Tensor& batch_index, at::IntArrayRef image_sizes,
                                    double threshold);

// Characters of all masks one after the other, and how many each mask has; both on the CPU.
std::tuple<at::Tensor, at::Tensor> paste_rle(const at::Tensor& probabilities, const at::Tensor& matrices,
                                             const at::Tensor& batch_index, at::IntArrayRef image_sizes,
                                             double threshold);

std::tuple<at::Tensor, at::Tensor> encode_rle(const at::Tensor& masks);

std::tuple<at::Tensor, at::Tensor> letterbox(at::TensorList images, at::IntArrayRef size,
                                             at::ArrayRef<double> mean, at::ArrayRef<double> std,
                                             at::ScalarType dtype, bool channels_last);

}  // namespace pose2seg
