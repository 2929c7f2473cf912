// Three networks with few parameters, trained by one script. They are source 002 in the golden table
// (tests/python/golden), which gives no file.
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

Definition budget_model1(std::int64_t classes) {
  return {
      {"conv1", conv(8, 3, {.padding = 1})},
      {"relu1", relu()},
      {"pool1", max_pool(2)},
      {"conv2", conv(16, 3, {.padding = 1})},
      {"relu2", relu()},
      {"pool2", max_pool(2)},
      {"flatten", flatten()},
      {"fc1", linear(32)},
      {"relu3", relu()},
      {"fc2", linear(classes)},
  };
}

Definition budget_model2(std::int64_t classes) {
  return {
      {"conv1", conv(6, 3, {.padding = 1})},
      {"relu1", relu()},
      {"pool1", max_pool(2)},
      {"conv2", conv(12, 3, {.padding = 1})},
      {"relu2", relu()},
      {"pool2", max_pool(2)},
      {"dropout", dropout(0.2)},
      {"flatten", flatten()},
      {"fc1", linear(24)},
      {"relu3", relu()},
      {"fc2", linear(classes)},
  };
}

Definition budget_model3(std::int64_t classes) {
  return {
      {"conv1", conv(4, 3, {.padding = 1})},
      {"bn1", batch_norm()},
      {"relu1", relu()},
      {"pool1", max_pool(2)},
      {"dropout1", dropout(0.15)},
      {"conv2", conv(8, 3, {.padding = 1})},
      {"bn2", batch_norm()},
      {"relu2", relu()},
      {"pool2", max_pool(2)},
      {"dropout2", dropout(0.15)},
      {"conv3", conv(12, 3, {.padding = 1})},
      {"bn3", batch_norm()},
      {"relu3", relu()},
      {"pool3", max_pool(2)},
      {"dropout3", dropout(0.15)},
      {"conv4", conv(16, 3, {.padding = 1})},
      {"bn4", batch_norm()},
      {"relu4", relu()},
      {"pool4", max_pool(2)},
      {"dropout4", dropout(0.15)},
      {"conv5", conv(classes, 3, {.padding = 1})},
      {"bn5", batch_norm()},
      {"relu5", relu()},
      {"gap", global_avg_pool()},
      {"flatten", flatten()},
  };
}

}  // namespace

std::vector<Entry> budget_entries() {
  const Citation citation{.project = "Networks for small budgets of parameters, models 1 to 3"};
  return {
      {"budget_model1",
       "Two 3x3 convolutions of 8 and 16 channels, each with ReLU and a pool, and two linear layers; outputs logits. "
       "The first linear layer holds 25,120 of its 26,698 parameters.",
       citation, budget_model1},
      {"budget_model2",
       "`budget_model1` with 6 and 12 channels, 24 hidden units and dropout of 0.2; outputs logits. "
       "It has 43 % fewer parameters, mainly because its linear layer is smaller.",
       citation, budget_model2},
      {"budget_model3",
       "Five 3x3 convolutions of 4 to 16 channels with batch norm, ReLU and dropout of 0.15, and four pools down to "
       "one pixel; outputs logits after a ReLU. "
       "It has no linear layer: more convolutions with 70 % fewer parameters than `budget_model2`.",
       citation, budget_model3},
  };
}

}  // namespace mnistcnn::zoo
