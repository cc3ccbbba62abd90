#pragma once

#include "core/paste.h"

struct CUstream_st;

namespace pose2seg {

void paste_masks_cpu(const PasteParams& params);
void paste_masks_cuda(const PasteParams& params, CUstream_st* stream);

}  // namespace pose2seg
