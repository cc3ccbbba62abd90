#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/mask_boundaries.h"
#include "core/run_lengths.h"
#include "ops/tensor.h"

namespace pose2seg {

struct MaskSize {
  int64_t height, width;
};

// Throws a ValueError that names the argument `name` for a mask of 2^31 pixels or more.
void check_countable(const MaskSize& size, const char* name);

// A function that finds the boundaries of all masks and stores them in its argument, encoded on the CPU.
using FindBoundaries = std::function<void(const MaskBoundaries&)>;

// Returns the COCO characters of each mask, whose boundaries are found on `device`.
std::vector<std::string> run_length_encode(const std::vector<MaskSize>& sizes, const Device& device,
                                           const FindBoundaries& find);

// A function that encodes boundaries by `encode_runs_cuda`, on the device of the tensor.
using EncodeRuns = std::function<void(const Tensor&, const RunLengthsParams&)>;

// Does the same with CUDA kernels, which encode the boundaries as well. The buffer is allocated for a typical
// number of boundaries; if a mask has more, all masks are processed again with a larger one. Two copies wait
// for the device: that of the numbers of characters, and then that of the characters.
std::vector<std::string> encode_on_device(const std::vector<MaskSize>& sizes, const Device& device,
                                          const FindBoundaries& find, const EncodeRuns& encode);

}  // namespace pose2seg
