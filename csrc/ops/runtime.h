#pragma once

#include <initializer_list>
#include <string>

#include "ops/tensor.h"

// What the ops ask of torch. csrc/python answers through Python and torch's C interface.

namespace pose2seg {

enum class Layout { kContiguous, kChannelsLast };  // the latter with four dimensions

// A new tensor with uninitialised elements, as torch.empty returns it. Large memory on the CPU comes in huge
// pages where the system grants them: it clears pages one by one as they are first written, which would take
// longer than most ops.
Tensor empty(std::initializer_list<int64_t> sizes, ScalarType dtype, const Device& device,
             Layout layout = Layout::kContiguous);

// The same with the shape of another tensor.
Tensor empty(Sizes sizes, ScalarType dtype, const Device& device, Layout layout = Layout::kContiguous);

// Sets every element to 0, on the current stream of its device.
void fill_zeros(const Tensor& tensor);

// `tensor` itself where it is contiguous, else a contiguous copy.
Tensor contiguous(const Tensor& tensor);

// `tensor` itself where it is on the CPU, else a copy there, for which the device is waited for.
Tensor to_cpu(const Tensor& tensor);

// The stream that torch queues its own kernels on, a cudaStream_t.
void* current_stream(const Device& device);

// str(tensor.<attribute>) in Python without the prefix "torch.", for messages.
std::string attribute_text(const Tensor& tensor, const char* attribute);

// Other Python threads run as long as this object lives.
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
