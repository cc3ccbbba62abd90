#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/mask_boundaries.h"
#include "ops/tensor.h"

namespace pose2seg {

struct MaskSize {
  int64_t height, width;
};

// Throws a ValueError that names the argument `name` for a mask of 2^31 pixels or more.
void check_countable(const MaskSize& size, const char* name);

// A function that finds the boundaries of all masks and stores them in its argument.
using FindBoundaries = std::function<void(const MaskBoundaries&)>;

// Returns the COCO characters of each mask, whose boundaries are found on `device`.
std::vector<std::string> run_length_encode(const std::vector<MaskSize>& sizes, const Device& device,
                                           const FindBoundaries& find);

struct DeviceBoundaries {
  Tensor host;  // owns the boundaries
  std::vector<std::span<const uint32_t>> of_mask;
};

// Finds the boundaries of each mask with CUDA kernels. The buffer is allocated for a typical number of
// boundaries and copied to the host as a whole, which is the only synchronisation. If a mask has more
// boundaries, all masks are processed again with a larger buffer.
DeviceBoundaries find_on_device(const std::vector<MaskSize>& sizes, const Device& device,
                                const FindBoundaries& find);

}  // namespace pose2seg
