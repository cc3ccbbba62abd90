#include "cpu/parallel.h"

namespace pose2seg {
namespace {

ThreadPool& shared_pool() {
  static ThreadPool pool;
  return pool;
}

}  // namespace

void use_thread_pool(const ThreadPool& pool) { shared_pool() = pool; }

const ThreadPool& thread_pool() { return shared_pool(); }

int64_t thread_count() {
  uint32_t count = 1;
  if (thread_pool().get_num_threads != nullptr) thread_pool().get_num_threads(&count);
  return count;
}

}  // namespace pose2seg
