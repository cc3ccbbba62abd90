#pragma once

#include <string_view>

// Wide vector instructions, and one build that runs everywhere: a loop is compiled for several instruction
// sets, and which of them runs is decided by the machine that it runs on.

namespace pose2seg {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// Chooses by the name that torch.backends.cpu.get_cpu_capability() gives the one torch uses for its own
// kernels: the widest that the machine has, or less where ATEN_CPU_CAPABILITY=default or =avx2 asks for less.
// Before the first call it is the baseline.
void use_instruction_set(std::string_view capability);

InstructionSet instruction_set();

#ifdef __x86_64__
#define POSE2SEG_COMPILE_FOR(...) [[gnu::target(__VA_ARGS__), gnu::flatten]]

template <class Body>
POSE2SEG_COMPILE_FOR("avx2,fma")
void run_with_avx2(const Body& body) {
  body();
}

template <class Body>
POSE2SEG_COMPILE_FOR("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
void run_with_avx512(const Body& body) {
  body();
}
#endif

// Calls body(), compiled with all the functions that it calls and that can be inlined. To be used around
// loops that are worth it, within a task of parallel_for. The results are the same bits with every
// instruction set: the compiler may neither fuse nor reorder operations on floating-point numbers.
template <class Body>
void with_wide_instructions(const Body& body) {
#ifdef POSE2SEG_COMPILE_FOR
  switch (instruction_set()) {
    case InstructionSet::kAvx512: return run_with_avx512(body);
    case InstructionSet::kAvx2: return run_with_avx2(body);
    case InstructionSet::kBaseline: break;
  }
#endif
  body();
}

}  // namespace pose2seg
