// Assignment 7 of a course on PyTorch: eight models, from 6.4 million parameters down to 5,400. They are source 000 in
// the golden table (tests/python/golden), which gives no file.
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

Block only_conv(std::int64_t channels, std::int64_t kernel) {
  return sequential(conv(channels, kernel, {.bias = false}));
}

Block conv_norm_relu(std::int64_t channels, std::int64_t kernel, std::int64_t padding = 0) {
  return sequential(conv(channels, kernel, {.padding = padding, .bias = false}), batch_norm(), relu());
}

Block conv_relu_norm_dropout(std::int64_t channels, std::int64_t padding = 0) {
  return sequential(conv(channels, 3, {.padding = padding, .bias = false}), relu(), batch_norm(), dropout(0.1));
}

Block conv_norm_leaky_dropout(std::int64_t channels) {
  return sequential(conv(channels, 3, {.bias = false}), batch_norm(), leaky_relu(0.1), dropout(0));
}

Definition model1(std::int64_t classes) {
  return {
      {"conv1", conv(32, 3, {.padding = 1})},
      {"relu1", relu()},
      {"conv2", conv(64, 3, {.padding = 1})},
      {"relu2", relu()},
      {"pool1", max_pool(2)},
      {"conv3", conv(128, 3, {.padding = 1})},
      {"relu3", relu()},
      {"conv4", conv(256, 3, {.padding = 1})},
      {"relu4", relu()},
      {"pool2", max_pool(2)},
      {"conv5", conv(512, 3)},
      {"relu5", relu()},
      {"conv6", conv(1024, 3)},
      {"relu6", relu()},
      {"conv7", conv(classes, 3)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

Definition model2(std::int64_t classes) {
  return {
      {"convblock1", conv_norm_relu(10, 3, 1)},
      {"convblock2", conv_norm_relu(10, 3, 1)},
      {"convblock3", conv_norm_relu(20, 3, 1)},
      {"pool1", max_pool(2)},
      {"convblock4", conv_norm_relu(10, 1)},
      {"convblock5", conv_norm_relu(10, 3, 1)},
      {"convblock6", conv_norm_relu(20, 3, 1)},
      {"pool2", max_pool(2)},
      {"convblock7", conv_norm_relu(10, 1)},
      {"convblock8", only_conv(classes, 7)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

Definition model3(std::int64_t classes) {
  return {
      {"convblock1", conv_norm_relu(10, 3, 1)},
      {"convblock2", conv_norm_relu(10, 3, 1)},
      {"convblock3", conv_norm_relu(20, 3, 1)},
      {"dropout1", dropout(0.25)},
      {"pool1", max_pool(2)},
      {"convblock4", conv_norm_relu(10, 1)},
      {"convblock5", conv_norm_relu(10, 3, 1)},
      {"convblock6", conv_norm_relu(20, 3, 1)},
      {"dropout2", dropout(0.25)},
      {"pool2", max_pool(2)},
      {"convblock7", conv_norm_relu(classes, 1)},
      {"gap", avg_pool(7)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

// Channels of the 3 x 3 convolutions of models 4, 5 and 6, which are identical otherwise.
struct Widths {
  std::int64_t block1, block2, block4, block5, block6, block7;
};

Definition models456(const Widths& widths, std::int64_t classes) {
  return {
      {"convblock1", conv_relu_norm_dropout(widths.block1)},
      {"convblock2", conv_relu_norm_dropout(widths.block2)},
      {"convblock3", only_conv(10, 1)},
      {"pool1", max_pool(2)},
      {"convblock4", conv_relu_norm_dropout(widths.block4)},
      {"convblock5", conv_relu_norm_dropout(widths.block5)},
      {"convblock6", conv_relu_norm_dropout(widths.block6)},
      {"convblock7", conv_relu_norm_dropout(widths.block7, 1)},
      {"gap", avg_pool(6)},
      {"convblock8", only_conv(classes, 1)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

Definition model4(std::int64_t classes) { return models456({16, 16, 16, 16, 16, 16}, classes); }
Definition model5(std::int64_t classes) { return models456({8, 8, 16, 16, 16, 16}, classes); }
Definition model6(std::int64_t classes) { return models456({8, 8, 8, 8, 32, 16}, classes); }

Definition model7(std::int64_t classes) {
  return {
      {"convblock1", conv_relu_norm_dropout(8)},
      {"convblock2", conv_relu_norm_dropout(16)},
      {"convblock3", only_conv(10, 1)},
      {"pool1", max_pool(2)},
      {"convblock4", conv_relu_norm_dropout(16)},
      {"convblock5", conv_relu_norm_dropout(16)},
      {"gap", global_avg_pool()},
      {"convblock6", only_conv(classes, 1)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

Definition model8(std::int64_t classes) {
  return {
      {"convblock1", conv_norm_leaky_dropout(8)},
      {"convblock2", conv_norm_leaky_dropout(16)},
      {"convblock3", only_conv(8, 1)},
      {"pool1", max_pool(2)},
      {"convblock4", conv_norm_leaky_dropout(12)},
      {"convblock5", conv_norm_leaky_dropout(16)},
      {"convblock6", conv_norm_leaky_dropout(24)},
      {"gap", global_avg_pool()},
      {"convblock7", only_conv(classes, 1)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

}  // namespace

std::vector<Entry> assignment7_entries() {
  const Citation citation{.project = "Assignment 7, models 1 to 8"};
  return {
      {"assignment7_model1", "Baseline with seven convolutions with biases.", citation, model1},
      {"assignment7_model2", "Batch norm, and a last convolution as large as its input.", citation, model2},
      {"assignment7_model3", "Global average pooling instead of the large convolution; log-softmax follows a ReLU.",
       citation, model3},
      {"assignment7_model4", "Batch norm after the activation, dropout in every block.", citation, model4},
      {"assignment7_model5", "Model 4 with fewer channels in the first layers.", citation, model5},
      {"assignment7_model6", "Model 5 with other numbers of channels.", citation, model6},
      {"assignment7_model7", "Four blocks and global average pooling.", citation, model7},
      {"assignment7_model8", "Leaky ReLUs, and a dropout of probability 0.", citation, model8,
       data::kUnit},  // the author scales pixels to [0, 1]
  };
}

}  // namespace mnistcnn::zoo
