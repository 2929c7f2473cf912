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

struct InstructionSet {
  const char* name;
  bool is_supported;
  void (*fill)(KernelTable&);
};

// In order of preference.
std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> sets;
#if defined(MNISTCNN_LANES_X86)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  sets.push_back({"avx512", avx512, fill_avx512_kernels});
  sets.push_back({"avx2", avx2, fill_avx2_kernels});
#endif
  sets.push_back({"baseline", true, fill_baseline_kernels});
  return sets;
}

KernelTable make_table(const InstructionSet& set) {
  KernelTable table{};
  set.fill(table);
  table.name = set.name;
  return table;
}

const KernelTable& table_of(const InstructionSet& set) {
  // One table per set, built on first use.
  if (std::string_view(set.name) == "avx512") {
    static const KernelTable table = make_table(set);
    return table;
  }
  if (std::string_view(set.name) == "avx2") {
    static const KernelTable table = make_table(set);
    return table;
  }
  static const KernelTable table = make_table(set);
  return table;
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
    if (name == set.name) return table_of(set);
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
