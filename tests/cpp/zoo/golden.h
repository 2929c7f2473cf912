#pragma once
#include <cstdint>
#include <optional>
#include <ostream>
#include <string_view>
#include <vector>

// Types of the golden table tests/python/golden/architectures.json. CMake converts it to golden_table.h, which defines
// kGolden, by replacing "key": with .key =. Names and order of the members must therefore equal those of the JSON.
namespace mnistcnn::zoo {

struct GoldenLayer {
  std::string_view op;
  std::int64_t out = 0, kernel = 0, padding = 0, stride = 0;
  bool bias = false;
  std::int64_t groups = 1;
  double p = 0, slope = 0;
  std::int64_t output = 0;
  std::vector<std::int64_t> output_shape = {};
  std::int64_t params = 0;
  std::optional<std::int64_t> receptive_field = {};
  std::string_view name = {};  // empty: not in the table
};

struct GoldenNetwork {
  std::string_view name, seed;  // seed: number of the source
  std::int64_t params = 0, macs = 0, buffers = 0;
  std::vector<GoldenLayer> layers = {};
};

inline void PrintTo(const GoldenNetwork& network, std::ostream* stream) { *stream << network.name; }

}  // namespace mnistcnn::zoo
