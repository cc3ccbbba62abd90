#pragma once

#include <initializer_list>
#include <string>

#include "ops/tensor.h"

// The functions of torch that the ops use. csrc/python implements them through Python and the C interface of
// torch.

namespace pose2seg {

enum class Layout { kContiguous, kChannelsLast };  // kChannelsLast needs four dimensions

// Returns a new uninitialised tensor, like torch.empty. Large CPU allocations use huge pages if the system
// grants them: clearing ordinary pages one by one on their first write would take longer than most ops.
Tensor empty(std::initializer_list<int64_t> sizes, ScalarType dtype, const Device& device,
             Layout layout = Layout::kContiguous);

// Does the same with the shape of another tensor.
Tensor empty(Sizes sizes, ScalarType dtype, const Device& device, Layout layout = Layout::kContiguous);

// Sets every element to 0, on the current stream of the device.
void fill_zeros(const Tensor& tensor);

// Returns `tensor` if it is contiguous, otherwise a contiguous copy.
Tensor contiguous(const Tensor& tensor);

// Returns `tensor` if it is on the CPU, otherwise a copy there, which waits for the device.
Tensor to_cpu(const Tensor& tensor);

// Returns the current stream of torch, a cudaStream_t.
void* current_stream(const Device& device);

// Returns str(tensor.<attribute>) without the prefix "torch.", for messages.
std::string attribute_text(const Tensor& tensor, const char* attribute);

// Releases the GIL for the lifetime of this object.
class ReleasedGil {
 public:
  ReleasedGil();
  ~ReleasedGil();
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;

 private:
  void* state_;
};

}  // namespace pose2seg
