#include "mnistcnn/engine/lanes_adapter.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "mnistcnn/engine/openmp_threads.h"

namespace mnistcnn::engine {
namespace {

using at::Tensor;

lanes::Memory memory_of(const network::Model& model) {
  const network::Parameters& parameters = model.parameters;
  network::check(parameters, model.analysis);
  return {parameters.values.mutable_data_ptr<float>(), parameters.gradients.mutable_data_ptr<float>(),
          parameters.buffers.mutable_data_ptr<float>(), parameters.counters.mutable_data_ptr<std::int64_t>()};
}

class LanesAdapter final : public Engine {
 public:
  LanesAdapter(network::Model& model, int threads)
      : model_(model),
        memory_(model.parameters),
        engine_(model.graph, memory_of(model), threads),
        openmp_threads_(engine_.threads()),
        output_shape_(model.analysis.nodes.back().output_shape) {}

  std::string_view name() const override { return "lanes"; }
  std::int64_t memory_bytes() const override { return static_cast<std::int64_t>(engine_.arena_bytes()); }
  std::int64_t memory_bytes_of_step(std::int64_t images) const override {
    return static_cast<std::int64_t>(engine_.arena_bytes_of_step(images));
  }

  void start_profile() override { engine_.start_profile(); }
  StepProfile stop_profile() override { return engine_.stop_profile(); }

  Tensor forward(const Tensor& images, Mode mode, Randomness randomness, Keep keep) override {
    network::check_batch(model_.graph, model_.analysis, images.size(0), mode == Mode::kTrain);
    images_ = images.detach().contiguous();
    keep_ = keep;
    Tensor outputs = empty_outputs(images.size(0));
    engine_.forward(images_.const_data_ptr<float>(), images.size(0), mode, randomness,
                    keep == Keep::kForParametersAndImages, outputs.mutable_data_ptr<float>(),
                    openmp_threads_.prepare());
    return outputs;
  }

  Tensor backward(const Tensor& output_gradients) override {
    if (keep_ == Keep::kNothing) throw std::logic_error("backward needs a forward before it");
    check_output_gradients(output_gradients, output_shape_of(images_.size(0)));
    const Tensor gradients = output_gradients.contiguous();
    const Tensor image_gradients = keep_ == Keep::kForParametersAndImages ? at::empty_like(images_) : Tensor();
    keep_ = Keep::kNothing;
    engine_.backward(gradients.const_data_ptr<float>(),
                     image_gradients.defined() ? image_gradients.mutable_data_ptr<float>() : nullptr,
                     openmp_threads_.prepare());
    images_.reset();
    return image_gradients;
  }

  Tensor predict(const ImageBatch& batch) override {
    keep_ = Keep::kNothing;
    const auto count = static_cast<std::int64_t>(batch.indices.size());
    network::check_batch(model_.graph, model_.analysis, count, false);
    Tensor outputs = empty_outputs(count);
    engine_.predict(batch, outputs.mutable_data_ptr<float>());
    return outputs;
  }

  StepResult step(const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss,
                  Randomness randomness) override {
    keep_ = Keep::kNothing;
    network::check_batch(model_.graph, model_.analysis, static_cast<std::int64_t>(labels.size()), true);
    return engine_.step(batch, labels, loss, randomness);
  }

 private:
  std::vector<std::int64_t> output_shape_of(std::int64_t count) const {
    std::vector<std::int64_t> shape{count};
    shape.insert(shape.end(), output_shape_.begin(), output_shape_.end());
    return shape;
  }

  Tensor empty_outputs(std::int64_t count) const { return at::empty(output_shape_of(count), at::kFloat); }

  const network::Model& model_;
  const network::Parameters memory_;  // held, so that it outlives a move of the model to another device
  lanes::LanesEngine engine_;
  OpenMpThreads openmp_threads_;
  network::Shape output_shape_;
  Tensor images_;  // of the latest forward: the engine may read them again in its backward
  Keep keep_ = Keep::kNothing;
};

}  // namespace

std::unique_ptr<Engine> adapt_lanes(network::Model& model, int threads) {
  return std::make_unique<LanesAdapter>(model, threads);
}

}  // namespace mnistcnn::engine
