#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/mask_boundaries.h"
#include "ops/tensor.h"

namespace pose2seg {

struct MaskSize {
  int64_t height, width;
};

// Throws ValueError naming `name` for a mask of 2^31 pixels or more.
void check_countable(const MaskSize& size, const char* name);

// COCO's characters for each mask, whose boundaries find(params.output) finds on `device`.
std::vector<std::string> run_length_encode(const std::vector<MaskSize>& sizes, const Device& device,
                                           const std::function<void(const MaskBoundaries&)>& find);

}  // namespace pose2seg
