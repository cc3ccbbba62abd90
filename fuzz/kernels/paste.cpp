#include "ops/ops.h"
#include "run_lengths.h"

// Pasted run lengths must be those of the pasted masks, and must not depend on the memory layout.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Arguments arguments(data, size);
  const fuzz::ScalarType dtype = arguments.dtype();
  const int64_t people = arguments.count(0, 3);
  const fuzz::Tensor dense =
      arguments.numbers({people, arguments.count(0, 20), arguments.count(0, 20)}, dtype);
  const fuzz::Tensor matrices = arguments.matrices(people, dtype);
  const fuzz::Tensor batch_index = fuzz::make({people}, fuzz::kLong, [](int64_t) { return 0; });
  const int64_t image[] = {arguments.count(1, 80), arguments.count(1, 80)};
  const double threshold = arguments.PickValueInArray({0.0, 1e-40, 0.5, 0.75, 1.0});

  const fuzz::Tensor probabilities = arguments.laid_out(dense);
  const fuzz::Tensor masks =
      pose2seg::paste_masks(nullptr, probabilities, matrices, batch_index, image, threshold).front();
  const fuzz::Tensor decoded =
      fuzz::decode(pose2seg::paste_rle(dense, matrices, batch_index, image, threshold), image[0], image[1]);
  fuzz::require(fuzz::same(decoded, masks), "run lengths are those of the masks");
  return 0;
}
