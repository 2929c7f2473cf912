#include "mnistcnn/engine/lanes/kernels/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "mnistcnn/common/text.h"

namespace mnistcnn::engine::lanes {

void fill_baseline_kernels(KernelTable& table);
#if defined(MNISTCNN_LANES_X86)
void fill_avx2_kernels(KernelTable& table);
void fill_avx512_kernels(KernelTable& table);
#endif

namespace {

// Return the table that kFill fills, built on first use.
template <void (*kFill)(KernelTable&)>
const KernelTable& table_of(const char* name) {
  static const KernelTable table = [name] {
    KernelTable result{};
    kFill(result);
    result.name = name;
    return result;
  }();
  return table;
}

struct InstructionSet {
  const char* name;
  bool is_supported;
  const KernelTable& (*table)(const char* name);
};

// In order of preference.
std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> sets;
#if defined(MNISTCNN_LANES_X86)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  sets.push_back({"avx512", avx512, table_of<fill_avx512_kernels>});
  sets.push_back({"avx2", avx2, table_of<fill_avx2_kernels>});
#endif
  sets.push_back({"baseline", true, table_of<fill_baseline_kernels>});
  return sets;
}

}  // namespace

std::vector<std::string> instruction_set_names() {
  std::vector<std::string> names;
  for (const InstructionSet& set : instruction_sets())
    if (set.is_supported) names.push_back(set.name);
  return names;
}

const KernelTable& kernels(std::string_view name) {
  std::string choices;
  for (const InstructionSet& set : instruction_sets()) {
    if (!set.is_supported) continue;
    if (name == set.name) return set.table(set.name);
    choices += (choices.empty() ? "" : ", ") + std::string(set.name);
  }
  throw std::invalid_argument(
      common::text("instruction set '", name, "' is not supported by this CPU; supported: ", choices));
}

const KernelTable& kernels() {
  const char* wanted = std::getenv("MNISTCNN_ISA");
  if (wanted == nullptr || *wanted == '\0') return kernels(instruction_set_names().front());
  try {
    return kernels(wanted);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(common::text("MNISTCNN_ISA: ", error.what()));
  }
}

}  // namespace mnistcnn::engine::lanes
