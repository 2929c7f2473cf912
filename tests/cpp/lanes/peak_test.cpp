#include "mnistcnn/engine/lanes/runtime/peak.h"

#include <algorithm>

#include "lanes/lanes_fixture.h"

namespace mnistcnn::engine::lanes::testing {
namespace {

TEST(Peak, CountsTheMultiplyAddsOfTheLoop) {
  for_each_instruction_set([](const KernelTable& kernels) {
    EXPECT_EQ(kernels.multiply_adds(1000) % (1000 * kernels.vector_lanes), 0);
    // The upper limit, 100 multiply-add instructions per nanosecond, fails if the compiler optimised the loop away.
    const double flops = peak_flops(kernels, 1, 0.02);
    EXPECT_GT(flops, 1e8);
    EXPECT_LT(flops, 2e9 * 100 * kernels.vector_lanes);
  });
}

TEST(Peak, CountsTheMultiplyAddsOfAllThreads) {
  for_each_instruction_set([](const KernelTable& kernels) {
    const double one = run_multiply_adds(kernels, 1, 1);
    EXPECT_GT(one, 1e5);
    EXPECT_EQ(run_multiply_adds(kernels, 3, 5), 15 * one);
  });
}

TEST(Peak, MeasuresAPlausibleBandwidth) {
  for_each_instruction_set([](const KernelTable& kernels) {
    const double bandwidth = read_bandwidth(kernels, 1, 16 << 10, 0.02);
    EXPECT_GT(bandwidth, 1e8);
    EXPECT_LT(bandwidth, 1e13);
  });
}

TEST(Peak, MeasuresAPlausiblePhase) {
  // One thread does not wait. Other processes may interrupt a measurement, so the shortest of several counts.
  double shortest = phase_seconds(kernels(), 1, 0.02);
  for (int i = 0; i < 50 && shortest >= 1e-6; ++i) shortest = std::min(shortest, phase_seconds(kernels(), 1, 0.02));
  EXPECT_LT(shortest, 1e-6);
  EXPECT_LT(phase_seconds(kernels(), 2, 0.02), 0.1);
}

TEST(Peak, ThrowsForInvalidArguments) {
  EXPECT_THROW(peak_flops(kernels(), 0, 0.1), std::invalid_argument);
  EXPECT_THROW(peak_flops(kernels(), 1, -1), std::invalid_argument);
  EXPECT_THROW(run_multiply_adds(kernels(), 0, 1), std::invalid_argument);
  EXPECT_THROW(run_multiply_adds(kernels(), 1, 0), std::invalid_argument);
  EXPECT_THROW(read_bandwidth(kernels(), 1, 7, 0.1), std::invalid_argument);
  EXPECT_THROW(phase_seconds(kernels(), 0, 0.1), std::invalid_argument);
  EXPECT_THROW(kernels("mmx"), std::invalid_argument);
}

}  // namespace
}  // namespace mnistcnn::engine::lanes::testing
