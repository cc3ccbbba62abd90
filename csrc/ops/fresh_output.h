#pragma once

#include <ATen/core/Tensor.h>

namespace pose2seg {

// at::empty for what an op returns. Memory on the CPU that is large enough comes in huge pages where the
// system gives these to who asks: the system clears pages one by one as they are first written, and that
// would take longer than most ops.
at::Tensor fresh_output(at::IntArrayRef sizes, const at::TensorOptions& options);

}  // namespace pose2seg
