// A network for digit recognition with layers L1 to L5. It is source 004 in the golden table (tests/python/golden),
// which gives no file.
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

Definition recognition_cnn(std::int64_t classes) {
  return {
      {"L1", sequential(conv(32, 3, {.padding = 1}), relu(), max_pool(2))},
      {"L2", sequential(conv(64, 3, {.padding = 1}), relu(), max_pool(2))},
      {"flatten", flatten()},
      {"L3", linear(1000)},
      {"relu3", relu()},
      {"L4", linear(100)},
      {"relu4", relu()},
      {"L5", linear(classes)},
  };
}

}  // namespace

std::vector<Entry> recognition_entries() {
  const Citation citation{.project = "Digit recognition"};
  return {{"recognition_cnn",
           "Two 3x3 convolutions of 32 and 64 channels, each with ReLU and a pool, and three linear layers; outputs "
           "logits. "
           "The first linear layer holds 3,137,000 of its 3,256,926 parameters.",
           citation, recognition_cnn}};
}

}  // namespace mnistcnn::zoo
