#include "core/encode_rle.h"

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/rle.h"

namespace pose2seg {

std::vector<std::string> encode_rle(const Tensor& masks) {
  check_shape(masks, "masks", "(N, H, W)", {-1, -1, -1});
  require<TypeError>(masks.dtype == ScalarType::kBool || masks.dtype == ScalarType::kByte,
                     "masks must be bool or uint8, got ", dtype_name(masks.dtype));
  check_device(masks, "masks");
  check_has_values(masks, "masks");
  const MaskSize size = {masks.size(1), masks.size(2)};
  check_countable(size, "masks");

  const Tensor rows = masks.stride(2) == 1 || masks.size(2) == 1 ? masks : contiguous(masks);
  EncodeRleParams params = {};
  params.masks = static_cast<const uint8_t*>(rows.data);
  params.height = size.height;
  params.width = size.width;
  params.strides[0] = rows.stride(0);
  params.strides[1] = rows.stride(1);
  const std::vector<MaskSize> sizes(masks.size(0), size);
  return run_length_encode(sizes, masks.device, [&](const MaskBoundaries& output) {
    params.output = output;
    run_on_device_of(masks, params, encode_rle_cpu, CUDA_KERNEL(encode_rle_cuda));
  });
}

}  // namespace pose2seg
