#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <tuple>
#include <vector>

#include "core/mask_boundaries.h"

namespace pose2seg {

struct MaskSize {
  int64_t height, width;
};

// Throws ValueError naming `name` for a mask of 2^31 pixels or more.
void check_countable(const MaskSize& size, const char* name);

// COCO's characters for masks whose boundaries find(params.output) finds on `device`: those of all masks one
// after the other, uint8, and how many each mask has, int64; both on the CPU.
std::tuple<at::Tensor, at::Tensor> run_length_encode(const std::vector<MaskSize>& sizes, at::Device device,
                                                     const std::function<void(const MaskBoundaries&)>& find);

}  // namespace pose2seg
