#include "mnistcnn/common/cores.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using mnistcnn::common::available_cores;
using mnistcnn::common::available_cpus;
using mnistcnn::common::physical_cores;

// A directory like /sys/devices/system/cpu.
class CpuDirectory {
 public:
  CpuDirectory() { std::filesystem::create_directory(path_); }
  ~CpuDirectory() { std::filesystem::remove_all(path_); }
  CpuDirectory(const CpuDirectory&) = delete;
  CpuDirectory& operator=(const CpuDirectory&) = delete;

  void add(int cpu, const std::string& siblings, const std::string& file = "core_cpus_list") const {
    const std::filesystem::path topology = path_ / ("cpu" + std::to_string(cpu)) / "topology";
    std::filesystem::create_directories(topology);
    std::ofstream(topology / file) << siblings << "\n";
  }
  int cores(const std::vector<int>& cpus) const { return physical_cores(cpus, path_.string()); }

 private:
  std::filesystem::path path_ = std::filesystem::temp_directory_path() / ("cores_test_" + std::to_string(getpid()));
};

TEST(PhysicalCores, CountsSiblingsOnce) {
  const CpuDirectory directory;
  for (int core = 0; core < 4; ++core)
    for (const int cpu : {core, core + 4}) directory.add(cpu, std::to_string(core) + "," + std::to_string(core + 4));
  EXPECT_EQ(directory.cores({0, 1, 2, 3, 4, 5, 6, 7}), 4);
}

TEST(PhysicalCores, CountsOnlyCpusOfTheAffinityMask) {
  const CpuDirectory directory;
  for (int cpu = 0; cpu < 8; ++cpu)
    directory.add(cpu, std::to_string(cpu / 2 * 2) + "-" + std::to_string(cpu / 2 * 2 + 1));
  EXPECT_EQ(directory.cores({1, 2, 3}), 2);
  EXPECT_EQ(directory.cores({5}), 1);
}

TEST(PhysicalCores, SupportsCoresWithAndWithoutSiblings) {
  const CpuDirectory directory;
  directory.add(0, "0-1");
  directory.add(1, "0-1");
  directory.add(2, "2");
  directory.add(3, "3");
  EXPECT_EQ(directory.cores({0, 1, 2, 3}), 3);
}

TEST(PhysicalCores, ReadsTheOldNameOfTheFile) {
  const CpuDirectory directory;
  directory.add(0, "0,1", "thread_siblings_list");
  directory.add(1, "0,1", "thread_siblings_list");
  EXPECT_EQ(directory.cores({0, 1}), 1);
}

TEST(PhysicalCores, CountsACpuWithoutDescriptionAsACore) {
  const CpuDirectory directory;
  directory.add(0, "0,1");
  directory.add(1, "0,1");
  EXPECT_EQ(directory.cores({0, 1, 2, 3}), 3);
  EXPECT_EQ(physical_cores(std::vector<int>{0, 1}, "/nonexistent"), 2);
}

TEST(AvailableCores, IsAtLeastOneAndAtMostTheNumberOfCpus) {
  EXPECT_GE(available_cores(), 1);
  EXPECT_LE(available_cores(), available_cpus());
  EXPECT_LE(available_cpus(), static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
}

}  // namespace
