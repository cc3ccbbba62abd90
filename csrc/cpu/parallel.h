#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <stdexcept>

namespace pose2seg {

// Functions of torch's C interface (torch/csrc/stable/c/shim.h), through which the kernels share torch's
// threads and obey torch.set_num_threads. Without them everything runs on the calling thread.
struct ThreadPool {
  int32_t (*parallel_for)(int64_t begin, int64_t end, int64_t grain,
                          void (*body)(int64_t begin, int64_t end, void* context), void* context) = nullptr;
  int32_t (*get_num_threads)(uint32_t* count) = nullptr;
};

void use_thread_pool(const ThreadPool& pool);

const ThreadPool& thread_pool();

// Returns the maximum number of threads that parallel_for uses.
int64_t thread_count();

// Calls body(first, last) for ranges of at least `grain` items that partition [begin, end), on several
// threads. Rethrows the first exception that a body throws.
template <class Body>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Body& body) {
  if (begin >= end) return;
  if (end - begin <= grain || thread_pool().parallel_for == nullptr) return body(begin, end);
  struct Context {
    const Body& body;
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    std::exception_ptr error = nullptr;
  } context = {body};
  const auto call = [](int64_t first, int64_t last, void* pointer) {
    auto& shared = *static_cast<Context*>(pointer);
    try {
      shared.body(first, last);
    } catch (...) {  // exceptions must not pass through the C frames of torch
      if (!shared.failed.test_and_set()) shared.error = std::current_exception();
    }
  };
  const int32_t status = thread_pool().parallel_for(begin, end, grain, call, &context);
  if (context.error) std::rethrow_exception(context.error);
  if (status != 0) throw std::runtime_error("the threads of torch could not be used");
}

}  // namespace pose2seg
