#include "core/encode_rle.h"

#include "ops/checks.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/rle.h"

namespace pose2seg {

std::tuple<at::Tensor, at::Tensor> encode_rle(const at::Tensor& masks) {
  check_shape(masks, "masks", "(N, H, W)", {-1, -1, -1});
  TORCH_CHECK_TYPE(masks.scalar_type() == at::kBool || masks.scalar_type() == at::kByte,
                   "masks must be bool or uint8, got ", dtype_name(masks.scalar_type()));
  check_device(masks, "masks");
  const MaskSize size = {masks.size(1), masks.size(2)};
  check_countable(size, "masks");

  const auto rows = masks.stride(2) == 1 || masks.size(2) == 1 ? masks : masks.contiguous();
  EncodeRleParams params = {};
  params.masks = static_cast<const uint8_t*>(rows.const_data_ptr());
  params.height = size.height;
  params.width = size.width;
  params.strides[0] = rows.stride(0);
  params.strides[1] = rows.stride(1);
  const std::vector<MaskSize> sizes(masks.size(0), size);
  return run_length_encode(sizes, masks.device(), [&](const MaskBoundaries& output) {
    params.output = output;
    run_on_device_of(masks, params, encode_rle_cpu, CUDA_KERNEL(encode_rle_cuda));
  });
}

}  // namespace pose2seg
