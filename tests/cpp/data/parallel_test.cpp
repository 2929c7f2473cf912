#include "mnistcnn/data/parallel.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace mnistcnn::data {
namespace {

TEST(ParallelFor, CallsEveryIndexOnce) {
  std::vector<int> calls(10);
  parallel_for(calls.size(), 3, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) ++calls[i];
  });
  EXPECT_EQ(calls, std::vector<int>(10, 1));
}

TEST(ParallelFor, RethrowsAfterAllThreadsHaveEnded) {
  std::vector<int> calls(4);
  const auto work = [&](std::size_t thread, std::size_t, std::size_t) {
    calls[thread] = 1;
    if (thread == 1 || thread == 3) throw std::runtime_error(std::to_string(thread));
  };
  try {
    parallel_for(4, 4, work);
    FAIL() << "no exception";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "1");
  }
  EXPECT_EQ(calls, std::vector<int>(4, 1));
}

}  // namespace
}  // namespace mnistcnn::data
