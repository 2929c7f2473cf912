// Session 7 of ERA V2, a course of The School of AI: 99.4 % on MNIST with fewer than 8,000 parameters, in three steps.
// https://github.com/ShikhaERAV2/Session7, model.py: classes Net1, Net2 and Net.
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

Citation session7_citation(std::string_view file) {
  return {.project = "ShikhaERAV2/Session7",
          .session = "ERA V2 (The School of AI), session 7",
          .file = file,
          .url = "https://github.com/ShikhaERAV2/Session7"};
}

Block conv_norm_relu_dropout(std::int64_t channels, std::int64_t padding = 0) {
  return sequential(conv(channels, 3, {.padding = padding, .bias = false}), batch_norm(), relu(), dropout(0.01));
}

Block conv_relu(std::int64_t channels) { return sequential(conv(channels, 3, {.bias = false}), relu()); }

Definition net1(std::int64_t classes) {
  return {
      {"convblock1", conv_norm_relu(8, 3, 1)},
      {"convblock2", conv_norm_relu(8, 3, 1)},
      {"convblock3", conv_norm_relu(8)},
      {"pool1", max_pool(2)},
      {"convblock4", conv_norm_relu(16, 3, 1)},
      {"convblock5", conv_norm_relu(16)},
      {"convblock6", conv_norm_relu(16, 3, 1)},
      {"convblock7", conv_norm_relu(32)},
      {"convblock8", only_conv(10)},
      {"convblock9", only_conv(classes)},
      {"gap", avg_pool(5)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

Definition net2(std::int64_t classes) {
  return {
      {"convblock1", conv_norm_relu(8, 3, 1)},
      {"convblock2", conv_norm_relu(8, 3, 1)},
      {"convblock3", conv_norm_relu(8)},
      {"pool1", max_pool(2)},
      {"convblock4", conv_norm_relu(16, 3, 1)},
      {"convblock5", conv_norm_relu(16)},
      {"convblock6", conv_norm_relu(16, 3, 1)},
      {"convblock7", conv_norm_relu(16)},
      {"convblock8", conv_relu(10)},
      {"convblock9", conv_relu(10)},
      {"convblock10", conv_relu(classes)},
      {"gap", avg_pool(3)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

Definition net(std::int64_t classes) {
  return {
      {"convblock1", conv_norm_relu(4)},
      {"convblock2", conv_norm_relu(4)},
      {"convblock3", conv_norm_relu_dropout(4)},
      {"pool1", max_pool(2)},
      {"convblock4", conv_norm_relu(8, 1)},
      {"convblock5", conv_norm_relu(8)},
      {"convblock6", conv_norm_relu_dropout(8, 1)},
      {"convblock7", conv_norm_relu(16)},
      {"convblock8", conv_norm_relu_dropout(16)},
      {"convblock9", conv_norm_relu(16, 3, 1)},
      {"convblock10", only_conv(classes, 1)},
      {"gap", avg_pool(3)},
      {"flatten", flatten()},
      {"log_softmax", log_softmax()},
  };
}

}  // namespace

std::vector<Entry> session7_entries() {
  return {
      {"session7_net1",
       "Nine 3x3 convolutions of 8 to 32 channels, seven of them with batch norm and ReLU, one pool, and average "
       "pooling of the last 5x5 map. "
       "The first of three steps: the structure that the next two keep.",
       session7_citation("model.py, class Net1"), net1},
      {"session7_net2",
       "Ten 3x3 convolutions of 8 to 16 channels, seven of them with batch norm, one pool, and average pooling of the "
       "last 3x3 map. "
       "It has 16 instead of 32 channels in the seventh convolution, and a ReLU before the log-softmax.",
       session7_citation("model.py, class Net2"), net2},
      {"session7_net",
       "Ten convolutions of 4 to 16 channels with batch norm and ReLU, two of them 1x1, dropout of 0.01 in three "
       "blocks, one pool, and average pooling. "
       "Half the channels in the first layers bring it below 8,000 parameters; its last pooling layer uses only the "
       "top-left 3x3 of a 5x5 map.",
       session7_citation("model.py, class Net"), net},
  };
}

}  // namespace mnistcnn::zoo
