// Session 5 of ERA, a course of The School of AI: the network without biases. It is source 001 in the golden table
// (tests/python/golden), which gives no file.
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

Definition era5_net(std::int64_t classes) {
  return {
      {"conv1", conv(32, 3, {.bias = false})},
      {"relu1", relu()},
      {"conv2", conv(64, 3, {.bias = false})},
      {"pool1", max_pool(2)},
      {"relu2", relu()},
      {"conv3", conv(128, 3, {.bias = false})},
      {"relu3", relu()},
      {"conv4", conv(256, 3, {.bias = false})},
      {"pool2", max_pool(2)},
      {"relu4", relu()},
      {"flatten", flatten()},
      {"fc1", linear(50, {.bias = false})},
      {"relu5", relu()},
      {"fc2", linear(classes, {.bias = false})},
      {"log_softmax", log_softmax()},
  };
}

}  // namespace

std::vector<Entry> era5_entries() {
  const Citation citation{.project = "ERA session 5 (The School of AI)"};
  return {{"era5_net",
           "Four 3x3 convolutions of 32 to 256 channels and two linear layers, all without biases; pooling precedes "
           "the activation. "
           "The wide network of an earlier session of the course, with 78 times the parameters of `session7_net`.",
           citation, era5_net}};
}

}  // namespace mnistcnn::zoo
