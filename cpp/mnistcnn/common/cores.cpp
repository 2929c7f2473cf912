#include "mnistcnn/common/cores.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace mnistcnn::common {
namespace {

int cores_from_affinity() {
#if defined(__linux__)
  // sched_getaffinity fails if the machine has more cores than the set has bits: retry with a larger set.
  for (int cores = CPU_SETSIZE; cores <= (1 << 20); cores *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(cores));
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(cores));
    const bool known = set != nullptr && sched_getaffinity(0, size, set) == 0;
    const int count = known ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
#endif
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

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

double cores_from_quota() {
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

}  // namespace

int available_cores() {
  const int cores = cores_from_affinity();
  const double quota = cores_from_quota();
  return quota < cores ? std::max(1, static_cast<int>(std::ceil(quota))) : cores;
}

}  // namespace mnistcnn::common
