// Train session7_net on MNIST with its published recipe and evaluate it on the test set.
//
//   train_mnist FOLDER [EPOCHS]
//
// FOLDER contains the four decompressed IDX files of MNIST. The results are bit-identical to the same run from Python.
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "mnistcnn/data/idx.h"
#include "mnistcnn/engine/make_engine.h"
#include "mnistcnn/train/fit.h"
#include "mnistcnn/zoo/zoo.h"

using namespace mnistcnn;

constexpr std::uint64_t kSeed = 2;

struct LabelledImages {
  std::vector<std::uint8_t> images;
  std::vector<std::int64_t> labels;

  data::ImageSet view() const { return {images, labels}; }
};

LabelledImages read(const std::filesystem::path& folder, const std::string& part) {
  const auto bytes = [&](const char* file) {
    return std::get<std::vector<std::uint8_t>>(data::read_idx(folder / (part + file)).values);
  };
  const std::vector<std::uint8_t> labels = bytes("-labels-idx1-ubyte");
  return {bytes("-images-idx3-ubyte"), {labels.begin(), labels.end()}};
}

void print(const metrics::Scores& scores) {
  std::printf("\ntest: accuracy %.2f %%, loss %.17g\n", 100 * scores.accuracy(), scores.loss());
  std::printf("\nconfusion matrix: rows are labels, columns are predictions\n");
  for (std::size_t i = 0; i < scores.confusion.size(); ++i)
    std::printf("%5lld%s", static_cast<long long>(scores.confusion[i]), i % 10 == 9 ? "\n" : "");
}

std::int64_t whole_number(const std::string& argument) {
  std::int64_t number = 0;
  const char* const end = argument.data() + argument.size();
  const auto [rest, error] = std::from_chars(argument.data(), end, number);
  if (error != std::errc() || rest != end || number < 1)
    throw std::invalid_argument("EPOCHS must be a whole number of at least 1, got " + argument);
  return number;
}

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) return std::fprintf(stderr, "usage: train_mnist FOLDER [EPOCHS]\n"), 2;
  const LabelledImages train_set = read(argv[1], "train"), test_set = read(argv[1], "t10k");

  auto network = std::make_shared<network::Network>();
  network->graph = zoo::create("session7_net");
  network->analysis = network::analyse(network->graph);
  const auto engine = engine::make_engine(network, "lanes", 0);  // 0: one thread per physical core
  const train::ModelView model(*engine, network::initialise(network->graph, network->analysis, kSeed),
                               train::normalization({data::kMnist.mean}, {data::kMnist.deviation}));

  train::Recipe recipe{.seed = kSeed};  // 15 epochs of SGD with learning rate 0.01, momentum 0.9 and batches of 128
  if (argc == 3) recipe.epochs = whole_number(argv[2]);
  const auto on_epoch = [](const train::EpochRecord& record) {
    std::printf("epoch %lld: loss %.4f, accuracy %.2f %%, %.1f s\n", static_cast<long long>(record.epoch),
                record.train_loss, 100 * record.train_accuracy, record.seconds);
  };
  train::fit(model, train_set.view(), recipe, {.on_epoch = on_epoch});
  print(train::test(model, test_set.view()));
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
