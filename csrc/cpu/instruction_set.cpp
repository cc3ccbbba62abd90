#include "cpu/instruction_set.h"

namespace pose2seg {
namespace {

InstructionSet chosen = InstructionSet::kBaseline;

}  // namespace

void use_instruction_set(std::string_view capability) {
  if (capability == "AVX512")
    chosen = InstructionSet::kAvx512;
  else if (capability == "AVX2")
    chosen = InstructionSet::kAvx2;
  else
    chosen = InstructionSet::kBaseline;
}

InstructionSet instruction_set() { return chosen; }

}  // namespace pose2seg
