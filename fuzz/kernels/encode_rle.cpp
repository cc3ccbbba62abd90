#include "ops/ops.h"
#include "run_lengths.h"

// Decoding the run lengths must restore the masks.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const int64_t height = arguments.count(0, 40), width = arguments.count(0, 80);
  const auto bytes = arguments.ConsumeBytes<uint8_t>(arguments.count(1, 200));
  const fuzz::Shape sizes = {arguments.count(0, 3), height, width};
  const int set = arguments.ConsumeBool() ? 255 : 1;  // any nonzero value is set
  const auto is_set = [&bytes](int64_t i) {
    return !bytes.empty() && (bytes[i / 8 % bytes.size()] >> i % 8 & 1) != 0;
  };
  const fuzz::Tensor masks = fuzz::make(sizes, fuzz::kByte, [&](int64_t i) { return is_set(i) ? set : 0; });
  const fuzz::Tensor decoded = fuzz::decode(pose2seg::encode_rle(arguments.laid_out(masks)), height, width);
  fuzz::require(fuzz::same(decoded, fuzz::make(sizes, fuzz::kBool, is_set)), "decoding restores the masks");
  return 0;
}
