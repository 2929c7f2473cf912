#include "mnistcnn/engine/lanes_adapter.h"

#include <ATen/ops/empty.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/lanes/lanes_engine.h"
#include "mnistcnn/engine/openmp_threads.h"

namespace mnistcnn::engine {
namespace {

using at::Tensor;

// Pointers to the tensors of a model for one call. Non-contiguous parameters are copied for the duration of the call.
class CallTensors {
 public:
  CallTensors(std::span<const Tensor> parameters, std::span<const Tensor> gradients) {
    copies_.reserve(parameters.size());
    for (const Tensor& each : parameters) {
      copies_.push_back(each.expect_contiguous());
      parameters_.push_back(copies_.back()->const_data_ptr<float>());
    }
    for (const Tensor& each : gradients) gradients_.push_back(each.mutable_data_ptr<float>());
  }
  CallTensors(const network::Tensors& tensors, std::span<const Tensor> gradients)
      : CallTensors(std::span(tensors.parameters), gradients) {
    for (const Tensor& each : tensors.buffers) buffers_.push_back(each.mutable_data_ptr<float>());
    for (const Tensor& each : tensors.counters) counters_.push_back(each.mutable_data_ptr<std::int64_t>());
  }
  lanes::TensorPointers pointers() const { return {parameters_, gradients_, buffers_, counters_}; }

 private:
  std::vector<c10::MaybeOwned<Tensor>> copies_;
  std::vector<const float*> parameters_;
  std::vector<float*> gradients_, buffers_;
  std::vector<std::int64_t*> counters_;
};

class LanesAdapter final : public Engine {
 public:
  LanesAdapter(std::shared_ptr<const network::Network> network, int threads)
      : Engine(std::move(network), threads),
        engine_(this->network().graph, threads),
        openmp_threads_(engine_.threads()),
        output_shape_(this->network().analysis.nodes.back().output_shape) {}

  std::string_view name() const override { return "lanes"; }
  std::int64_t memory_bytes() const override { return static_cast<std::int64_t>(engine_.arena_bytes()); }
  std::int64_t memory_bytes_of_step(std::int64_t images) const override {
    return static_cast<std::int64_t>(engine_.arena_bytes_of_step(images));
  }

  void start_profile() override { engine_.start_profile(); }
  StepProfile stop_profile() override { return engine_.stop_profile(); }
  void start_task_times() override { engine_.start_task_times(); }
  std::vector<StepTasks> stop_task_times() override { return engine_.stop_task_times(); }

  Tensor forward(const network::Tensors& tensors, const Tensor& images, Mode mode, Randomness randomness,
                 Keep keep) override {
    check_images(images, at::kCPU);
    check(tensors, images.size(0), mode == Mode::kTrain);
    saved_ = {};
    between_torch_operations_ = true;
    const Tensor contiguous = images.detach().contiguous();
    Tensor outputs = empty_outputs(images.size(0));
    engine_.forward(CallTensors(tensors, {}).pointers(), contiguous.const_data_ptr<float>(), images.size(0), mode,
                    randomness, keep, outputs.mutable_data_ptr<float>(), openmp_threads_.borrow());
    saved_ = {keep, images.sizes().vec()};
    return outputs;
  }

  Tensor backward(std::span<const Tensor> parameters, std::span<const Tensor> gradients,
                  const Tensor& output_gradients) override {
    if (saved_.keep == Keep::kNothing) throw std::logic_error("backward must be called after forward, at most once");
    check_floats("output_gradients", output_gradients, output_shape_of(saved_.images[0]), at::kCPU);
    network::check_parameters(parameters, network().analysis);
    if (!parameters.empty()) check_device(parameters.front().device());
    check_gradients(gradients);
    const Tensor contiguous = output_gradients.contiguous();
    const Tensor image_gradients =
        saved_.keep == Keep::kForParametersAndImages ? at::empty(saved_.images, at::kFloat) : Tensor();
    saved_ = {};
    engine_.backward(CallTensors(parameters, gradients).pointers(), contiguous.const_data_ptr<float>(),
                     image_gradients.defined() ? image_gradients.mutable_data_ptr<float>() : nullptr,
                     openmp_threads_.borrow());
    return image_gradients;
  }

  Tensor predict(const network::Tensors& tensors, const ImageBatch& batch) override {
    const auto count = static_cast<std::int64_t>(batch.indices.size());
    check(tensors, count, false);
    saved_ = {};
    Tensor outputs = empty_outputs(count);
    engine_.predict(CallTensors(tensors, {}).pointers(), batch, outputs.mutable_data_ptr<float>());
    return outputs;
  }

  StepResult step(const network::Tensors& tensors, std::span<const Tensor> gradients, const ImageBatch& batch,
                  std::span<const std::int64_t> labels, const Loss& loss, Randomness randomness) override {
    check(tensors, static_cast<std::int64_t>(labels.size()), true);
    check_gradients(gradients);
    saved_ = {};
    between_torch_operations_ = false;
    return engine_.step(CallTensors(tensors, gradients).pointers(), batch, labels, loss, randomness);
  }

  void parallel_for(int tasks, const common::Task& run) override {
    engine_.parallel_for(tasks, run, between_torch_operations_ ? openmp_threads_.borrow() : nullptr);
  }

 private:
  // What the latest forward saved for backward.
  struct Saved {
    Keep keep = Keep::kNothing;
    std::vector<std::int64_t> images;  // their shape
  };

  static void check_device(at::Device device) {
    if (!device.is_cpu())
      throw std::invalid_argument(common::text("the lanes engine runs on the CPU, but the model is on ", device.str(),
                                               "; use engine=\"auto\" or \"aten\""));
  }

  void check(const network::Tensors& tensors, std::int64_t images, bool training) const {
    network::check(tensors, network().analysis);
    check_device(tensors.device());
    network::check_batch(network().graph, network().analysis, images, training);
  }

  std::vector<std::int64_t> output_shape_of(std::int64_t count) const {
    std::vector<std::int64_t> shape{count};
    shape.insert(shape.end(), output_shape_.begin(), output_shape_.end());
    return shape;
  }

  Tensor empty_outputs(std::int64_t count) const { return at::empty(output_shape_of(count), at::kFloat); }

  lanes::LanesEngine engine_;
  OpenMpThreads openmp_threads_;
  network::Shape output_shape_;
  Saved saved_;
  bool between_torch_operations_ = false;  // the latest training call was `forward`, so PyTorch's threads may be awake
};

}  // namespace

std::unique_ptr<Engine> adapt_lanes(std::shared_ptr<const network::Network> network, int threads) {
  return std::make_unique<LanesAdapter>(std::move(network), threads);
}

}  // namespace mnistcnn::engine
