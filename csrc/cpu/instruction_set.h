#pragma once

#include <string_view>
#include <type_traits>

// Runtime dispatch to wide vector instructions: a loop is compiled for several instruction sets, and the CPU
// that it runs on determines which version is used.

namespace pose2seg {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// Selects an instruction set by the name that torch.backends.cpu.get_cpu_capability() returns: the widest
// that the CPU supports, or a narrower one if ATEN_CPU_CAPABILITY is default or avx2. The baseline is used
// until this is called.
void use_instruction_set(std::string_view capability);

InstructionSet instruction_set();

// The size in bytes of the vector registers of an instruction set.
template <int kBytes>
using RegisterBytes = std::integral_constant<int, kBytes>;

#ifdef __x86_64__
#define POSE2SEG_COMPILE_FOR(...) [[gnu::target(__VA_ARGS__), gnu::flatten]]

template <class Body>
POSE2SEG_COMPILE_FOR("avx2,fma")
void run_with_avx2(const Body& body) {
  body(RegisterBytes<32>());
}

template <class Body>
POSE2SEG_COMPILE_FOR("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
void run_with_avx512(const Body& body) {
  body(RegisterBytes<64>());
}
#endif

// Calls body(register bytes), compiled for the selected instruction set together with all functions that can
// be inlined into it. Use it around hot loops, within a task of parallel_for. The results have the same bits
// with every instruction set, since the compiler may neither fuse nor reorder floating-point operations.
template <class Body>
void with_wide_instructions(const Body& body) {
#ifdef POSE2SEG_COMPILE_FOR
  switch (instruction_set()) {
    case InstructionSet::kAvx512: return run_with_avx512(body);
    case InstructionSet::kAvx2: return run_with_avx2(body);
    case InstructionSet::kBaseline: break;
  }
#endif
  body(RegisterBytes<16>());
}

}  // namespace pose2seg
