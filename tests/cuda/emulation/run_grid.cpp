#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda_runtime.h"

// The threads of a block are fibers of one OS thread. Each runs until it waits at a barrier or ends; a
// barrier opens when all threads that have not ended have arrived, like __syncthreads on a GPU. Nothing can
// hang: a round without progress is a deadlock and aborts.

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_emulation {
namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr unsigned int kWarpSize = 32;
constexpr unsigned int kMaxThreadsPerBlock = 1024;
constexpr unsigned int kMaxGridYZ = 65535;

// AddressSanitizer tracks the current stack, so it is notified of every switch.
struct StackSwitch {
  const void* bottom = nullptr;  // of the next stack
  size_t bytes = 0;
  void* fake_stack = nullptr;  // of the previous stack

#ifdef __SANITIZE_ADDRESS__
  void leave(const StackSwitch& to) { __sanitizer_start_switch_fiber(&fake_stack, to.bottom, to.bytes); }
  void arrive(StackSwitch& from) { __sanitizer_finish_switch_fiber(fake_stack, &from.bottom, &from.bytes); }
#else
  void leave(const StackSwitch&) {}
  void arrive(StackSwitch&) {}
#endif
};

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  ucontext_t start;
  jmp_buf resume;  // unlike swapcontext, jumps between running fibers without a system call
  bool started = false;
  StackSwitch stack_switch;
  State state = State::kDone;
  unsigned int mask = 0;  // of the lanes it waits for at a warp barrier
  bool vote = true;
  dim3 thread;
};

struct Warp {
  uint64_t mailboxes[kWarpSize];
};

// The fibers of the current block; each runs the kernel once per block.
class Block {
 public:
  Block(dim3 size, const std::function<void()>& kernel)
      : kernel_(kernel),
        fibers_(size.x * size.y * size.z),
        warps_((fibers_.size() + kWarpSize - 1) / kWarpSize) {
    for (size_t i = 0; i < fibers_.size(); ++i) {
      Fiber& fiber = fibers_[i];
      fiber.thread = dim3(i % size.x, i / size.x % size.y, i / size.x / size.y);
      getcontext(&fiber.start);
      fiber.start.uc_stack.ss_sp = fiber.stack.get();
      fiber.start.uc_stack.ss_size = kStackBytes;
      fiber.stack_switch.bottom = fiber.stack.get();
      fiber.stack_switch.bytes = kStackBytes;
      makecontext(&fiber.start, &Block::run_fiber, 0);
    }
  }

  void run() {
    for (Fiber& fiber : fibers_) fiber.state = State::kReady;
    do {
      for (current_ = 0; current_ < fibers_.size(); ++current_)
        if (fibers_[current_].state == State::kReady) enter(fibers_[current_]);
    } while (open_barriers());
    for (const Fiber& fiber : fibers_) {
      if (fiber.state == State::kDone) continue;
      std::fprintf(stderr,
                   "cuda_emulation: deadlock: some threads wait at a barrier that others never reach\n");
      std::abort();
    }
  }

  // Called on a fiber: returns to the scheduler until the state is ready again.
  void leave(State state) {
    Fiber& self = fibers_[current_];
    self.state = state;
    self.stack_switch.leave(stack_switch_);
    if (_setjmp(self.resume) == 0) _longjmp(scheduler_, 1);
    fibers_[current_].stack_switch.arrive(stack_switch_);
  }

  void wait_for_lanes(unsigned int mask) {
    fibers_[current_].mask = mask;
    leave(State::kAtWarpBarrier);
  }

  // Called on a fiber: waits for the others at a barrier. Returns whether all votes were true.
  bool all(bool vote) {
    Fiber& self = fibers_[current_];
    self.vote = vote;
    leave(State::kAtBlockBarrier);
    const bool result = std::all_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.vote; });
    leave(State::kAtBlockBarrier);  // until every fiber has counted
    self.vote = true;
    return result;
  }

  unsigned int lane() const { return static_cast<unsigned int>(current_ % kWarpSize); }
  uint64_t& mailbox(unsigned int lane) { return warps_[current_ / kWarpSize].mailboxes[lane]; }

 private:
  void enter(Fiber& fiber) {
    threadIdx = fiber.thread;
    stack_switch_.leave(fiber.stack_switch);
    if (_setjmp(scheduler_) != 0) {
      stack_switch_.arrive(fibers_[current_].stack_switch);
      return;
    }
    if (fiber.started) _longjmp(fiber.resume, 1);
    fiber.started = true;
    setcontext(&fiber.start);
  }

  static void run_fiber();

  // Returns whether any barrier opened, so that fibers can continue.
  bool open_barriers() {
    bool opened = open_block_barrier();
    for (size_t i = 0; i < fibers_.size(); ++i) opened |= open_warp_barrier(i);
    return opened;
  }

  bool open_block_barrier() {
    bool waiting = false;
    for (const Fiber& fiber : fibers_) {
      if (fiber.state != State::kAtBlockBarrier && fiber.state != State::kDone) return false;
      waiting |= fiber.state == State::kAtBlockBarrier;
    }
    for (Fiber& fiber : fibers_)
      if (fiber.state == State::kAtBlockBarrier) fiber.state = State::kReady;
    return waiting;
  }

  // Releases the lanes that fiber i waits for, including itself, once all of them wait for the same lanes.
  bool open_warp_barrier(size_t i) {
    if (fibers_[i].state != State::kAtWarpBarrier) return false;
    const size_t first = i / kWarpSize * kWarpSize;
    const auto named = [&](size_t lane) { return (fibers_[i].mask >> lane & 1) != 0; };
    for (size_t lane = 0; lane < kWarpSize; ++lane) {
      if (!named(lane)) continue;
      if (first + lane >= fibers_.size() || fibers_[first + lane].state != State::kAtWarpBarrier)
        return false;
      if (fibers_[first + lane].mask != fibers_[i].mask) return false;
    }
    if (!named(i - first)) return false;
    for (size_t lane = 0; lane < kWarpSize; ++lane)
      if (named(lane)) fibers_[first + lane].state = State::kReady;
    return true;
  }

  const std::function<void()>& kernel_;
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  jmp_buf scheduler_;
  StackSwitch stack_switch_;
  size_t current_ = 0;
};

thread_local Block* block = nullptr;

void Block::run_fiber() {
  block->fibers_[block->current_].stack_switch.arrive(block->stack_switch_);
  for (;;) {
    block->kernel_();
    block->leave(State::kDone);
  }
}

}  // namespace

// The number of blocks of the largest launch since a test has set it to 0.
extern "C" __attribute__((visibility("default"))) size_t cuda_emulation_largest_grid = 0;

cudaError_t run_grid(const cudaLaunchConfig_t& config, const std::function<void()>& kernel) {
  const dim3 grid = config.gridDim, size = config.blockDim;
  const bool empty = grid.x == 0 || grid.y == 0 || grid.z == 0 || size.x * size.y * size.z == 0;
  if (empty || size.x * size.y * size.z > kMaxThreadsPerBlock || grid.y > kMaxGridYZ || grid.z > kMaxGridYZ)
    return cudaErrorInvalidConfiguration;
  cuda_emulation_largest_grid =
      std::max(cuda_emulation_largest_grid, size_t(grid.x) * size_t(grid.y) * size_t(grid.z));
  Block one(size, kernel);
  block = &one;
  gridDim = grid;
  blockDim = size;
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) one.run();
  block = nullptr;
  return cudaSuccess;
}

void wait_for_block() { block->leave(State::kAtBlockBarrier); }
void wait_for_lanes(unsigned int mask) { block->wait_for_lanes(mask); }
bool all_of_block(bool predicate) { return block->all(predicate); }
uint64_t& mailbox(unsigned int lane) { return block->mailbox(lane); }
unsigned int lane() { return block->lane(); }

}  // namespace cuda_emulation
