#pragma once

#include <cstdint>

struct CUstream_st;

namespace pose2seg {

// The boundaries of a mask on the device, and where its COCO characters go.
struct MaskRuns {
  const uint32_t* boundaries;  // in ascending order
  const uint32_t* count;       // the number of boundaries, of which `room` are stored
  uint32_t room;
  uint32_t pixels;
  uint32_t* length;  // the number of characters is stored here if `characters` is null
  char* characters;
};

struct RunLengthsParams {
  const MaskRuns* masks;  // on the host
  int64_t mask_count;
};

void encode_runs_cuda(const RunLengthsParams& params, CUstream_st* stream);

}  // namespace pose2seg
