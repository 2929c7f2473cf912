// Assignment 7 of a course on PyTorch: eight models, from 6.4 million parameters down to 5,400. They are source 000 in
// the golden table (tests/python/golden), which gives no file.
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

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
      {"assignment7_model1",
       "Seven 3x3 convolutions of 32 to 1,024 channels with biases and ReLU, and two max pools. "
       "The large baseline: its author reports 99.21 %, less than for model 5 with 9,400 parameters.",
       citation, model1},
      {"assignment7_model2",
       "Eight convolutions of 10 and 20 channels with batch norm, two of them 1x1, and the last as large as its input "
       "(7x7). "
       "It has 1/580 of the parameters of model 1, mainly because it has fewer channels.",
       citation, model2},
      {"assignment7_model3",
       "Seven convolutions of 10 and 20 channels with batch norm, dropout of 0.25 before each pool, and average "
       "pooling of the last 7x7 map. "
       "The average replaces the 7x7 convolution of model 2 and saves 4,900 parameters; the ReLU before the "
       "log-softmax keeps all logits at or above 0.",
       citation, model3},
      {"assignment7_model4",
       "Eight convolutions of 10 and 16 channels, batch norm after the ReLU and dropout of 0.1 after each 3x3 "
       "convolution, one "
       "pool, and average pooling before the last 1x1 convolution. "
       "Unlike model 3, no ReLU precedes the log-softmax, and most convolutions have no padding.",
       citation, model4},
      {"assignment7_model5",
       "Model 4 with 8 instead of 16 channels in the first two convolutions. "
       "The first layers compute the largest maps: 17 % fewer parameters save 55 % of the multiply-adds.",
       citation, model5},
      {"assignment7_model6",
       "Model 4 with 8, 8, 8, 8, 32 and 16 channels in its 3x3 convolutions. "
       "It moves channels from early to late layers at the parameter count of model 5, and it is the first that is "
       "trained with rotations.",
       citation, model6},
      {"assignment7_model7",
       "Four 3x3 convolutions of 8 and 16 channels, batch norm after the ReLU and dropout of 0.1, a 1x1 convolution "
       "and a pool between them, and global average pooling before the last 1x1 convolution. "
       "It has two 3x3 convolutions fewer than model 6, and its recipe adds a step schedule.",
       citation, model7},
      {"assignment7_model8",
       "Five 3x3 convolutions of 8 to 24 channels, batch norm before leaky ReLUs, a dropout of probability 0, a 1x1 "
       "convolution and a pool between them, and global average pooling. "
       "It adds a convolution and channels to model 7 and removes dropout; its recipe has batches of 32 and a rate "
       "that falls exponentially.",
       citation, model8, data::kUnit},  // the author scales pixels to [0, 1]
  };
}

}  // namespace mnistcnn::zoo
