#include "cpu/instruction_set.h"

#include <ATen/Version.h>

#include <string>

namespace pose2seg {

InstructionSet instruction_set() {
  static const InstructionSet chosen = [] {
    const std::string capability = at::get_cpu_capability();
    if (capability == "AVX512") return InstructionSet::kAvx512;
    if (capability == "AVX2") return InstructionSet::kAvx2;
    return InstructionSet::kBaseline;
  }();
  return chosen;
}

}  // namespace pose2seg
