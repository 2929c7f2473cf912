#pragma once
#include <cstdint>
#include <optional>
#include <ostream>
#include <string_view>
#include <vector>

// The table of tests/python/golden/architectures.json as C++: CMake writes golden_table.h, which defines kGolden, by
// turning "key": into .key =, so names and order of the members are the JSON's.
namespace mnistcnn::zoo {

struct GoldenLayer {
  std::string_view op;
  std::int64_t out = 0, kernel = 0, padding = 0, stride = 0;
  bool bias = false;
  double p = 0, slope = 0;
  std::int64_t output = 0;
  std::vector<std::int64_t> output_shape = {};
  std::int64_t params = 0;
  std::optional<std::int64_t> receptive_field = {};
  std::string_view name = {};  // empty: not in the table
};

struct GoldenNetwork {
  std::string_view name, seed;  // seed: the source's number
  std::int64_t params = 0, macs = 0, buffers = 0;
  std::vector<GoldenLayer> layers = {};
};

inline void PrintTo(const GoldenNetwork& network, std::ostream* stream) { *stream << network.name; }

}  // namespace mnistcnn::zoo
