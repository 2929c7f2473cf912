#include "mnistcnn/common/cores.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace mnistcnn::common {
namespace {

// Return the logical CPUs of the affinity mask; empty if it is unknown.
std::vector<int> cpus_from_affinity() {
  std::vector<int> cpus;
#if defined(__linux__)
  // sched_getaffinity fails if the machine has more CPUs than the set has bits: retry with a larger set.
  for (int bits = CPU_SETSIZE; cpus.empty() && bits <= (1 << 20); bits *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(bits));
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(bits));
    if (set != nullptr && sched_getaffinity(0, size, set) == 0)
      for (int cpu = 0; cpu < bits; ++cpu)
        if (CPU_ISSET_S(static_cast<std::size_t>(cpu), size, set)) cpus.push_back(cpu);
    CPU_FREE(set);
  }
#endif
  return cpus;
}

int hardware_threads() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

// Return the quota in cores. cpu.max holds "max 100000" or "150000 100000": microseconds of CPU time and of the period.
double cgroup_v2_quota(const std::string& directory) {
  std::ifstream file(directory + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return kNoQuota;
  const double allowed = std::strtod(quota.c_str(), nullptr);
  return allowed > 0 ? allowed / period : kNoQuota;
}

double cgroup_v1_quota(const std::string& directory) {
  std::ifstream quota_file(directory + "/cpu.cfs_quota_us"), period_file(directory + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return kNoQuota;
  return quota / period;
}

// Return the smallest quota of the control group and all its ancestors.
template <class QuotaOf>
double smallest_quota(const std::string& root, std::string group, QuotaOf quota_of) {
  double smallest = kNoQuota;
  while (true) {
    smallest = std::min(smallest, quota_of(root + group));
    const std::size_t slash = group.find_last_of('/');
    if (group.empty() || slash == std::string::npos) return smallest;
    group.resize(slash);
  }
}

double smallest_quota_of_process() {
  double smallest = std::min(cgroup_v2_quota("/sys/fs/cgroup"), cgroup_v1_quota("/sys/fs/cgroup/cpu"));
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/user.slice" or "4:cpu,cpuacct:/docker/..."
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,")
      smallest = std::min(smallest, smallest_quota("/sys/fs/cgroup", group, cgroup_v2_quota));
    else if (controllers.find(",cpu,") != std::string::npos)
      smallest = std::min(smallest, smallest_quota("/sys/fs/cgroup/cpu", group, cgroup_v1_quota));
  }
  return smallest;
}

// Return the number of threads that the CPU quota allows, if it is less than `count`.
int limited_by_quota(int count) {
  const double quota = smallest_quota_of_process();
  return quota < count ? std::max(1, static_cast<int>(std::ceil(quota))) : count;
}

// Return the list of the CPUs on the same core, such as "0,16". All of them have the same list. Empty if it is unknown.
std::string siblings_of(int cpu, const std::string& root) {
  const std::string topology = root + "/cpu" + std::to_string(cpu) + "/topology/";
  std::string siblings;
  for (const char* const name : {"core_cpus_list", "thread_siblings_list"}) {  // new and old name
    std::ifstream file(topology + name);
    if (file >> siblings) break;
  }
  return siblings;
}

}  // namespace

int physical_cores(std::span<const int> cpus, const std::string& root) {
  std::set<std::string> cores;
  int unknown = 0;
  for (const int cpu : cpus) {
    const std::string siblings = siblings_of(cpu, root);
    if (siblings.empty())
      ++unknown;
    else
      cores.insert(siblings);
  }
  return static_cast<int>(cores.size()) + unknown;
}

int available_cpus() {
  const std::vector<int> cpus = cpus_from_affinity();
  return limited_by_quota(cpus.empty() ? hardware_threads() : static_cast<int>(cpus.size()));
}

int available_cores() {
  const std::vector<int> cpus = cpus_from_affinity();
  return limited_by_quota(cpus.empty() ? hardware_threads() : physical_cores(cpus));
}

}  // namespace mnistcnn::common
