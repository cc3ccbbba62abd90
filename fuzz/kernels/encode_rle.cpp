#include "ops/ops.h"
#include "run_lengths.h"

// Decoding gives the masks back.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const int64_t height = arguments.count(0, 40), width = arguments.count(0, 80);
  const auto bytes = arguments.ConsumeBytes<uint8_t>(arguments.count(1, 200));
  at::Tensor masks = at::zeros({arguments.count(0, 3), height, width}, at::kByte);
  for (int64_t i = 0; i < masks.numel() && !bytes.empty(); ++i)
    masks.mutable_data_ptr<uint8_t>()[i] = bytes[i / 8 % bytes.size()] >> i % 8 & 1;
  if (arguments.ConsumeBool()) masks *= 255;  // anything but 0 is set
  const auto [characters, lengths] = pose2seg::encode_rle(arguments.laid_out(masks));
  const at::Tensor decoded = fuzz::decode(characters, lengths, height, width);
  fuzz::require(fuzz::same(decoded, masks.clamp_max(1)), "decoding gives the masks back");
  return 0;
}
