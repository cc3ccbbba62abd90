#include "ops/ops.h"
#include "windows.h"

// The first channels must be the windows of affine_align; the maps must be within [-1, 1] and never NaN.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::Windows w(arguments);
  const int64_t joints = arguments.count(0, 6);
  const fuzz::Tensor keypoints = arguments.numbers({w.matrices.size(0), joints, 3}, w.matrices.dtype);
  const fuzz::Tensor output =
      pose2seg::align_with_skeleton(nullptr, w.input, keypoints, w.matrices, w.batch_index, w.output_size,
                                    w.convention, arguments.limbs(joints), 3.0, 1.0, arguments.ConsumeBool());
  const fuzz::Tensor windows =
      pose2seg::affine_align(nullptr, w.input, w.matrices, w.batch_index, w.output_size, w.convention);
  const int64_t channels = w.input.size(1);
  fuzz::require(fuzz::same(fuzz::narrow(output, 1, 0, channels), windows),
                "the windows are those of affine_align");
  fuzz::require(fuzz::within(fuzz::narrow(output, 1, channels, output.size(1) - channels), 1.01),
                "maps are between -1 and 1");
  return 0;
}
