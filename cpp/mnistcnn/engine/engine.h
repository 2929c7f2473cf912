#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "mnistcnn/common/parallel_for.h"
#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/loss.h"
#include "mnistcnn/engine/profile.h"
#include "mnistcnn/network/tensors.h"

// Interface of the engines that execute a network. An engine is created for one network. Each call takes the tensors of
// a model; the engine reads and writes them in place and does not store references. Calls must not be concurrent.
namespace mnistcnn::engine {

class Engine {
 public:
  explicit Engine(std::shared_ptr<const network::Network> network, int threads = 0)
      : network_(std::move(network)), threads_(threads) {}
  virtual ~Engine() = default;

  const network::Network& network() const { return *network_; }

  // The `threads` of make_engine. PyTorch's operations around the engine's calls should use the same number.
  int threads() const { return threads_; }

  virtual std::string_view name() const = 0;

  // Memory allocated between calls, in bytes; 0 if none or unknown.
  virtual std::int64_t memory_bytes() const { return 0; }

  // Memory required for training with this batch size, in bytes; 0 if unknown.
  virtual std::int64_t memory_bytes_of_step(std::int64_t) const { return 0; }

  // Measure the time per layer until stop_profile. Throw std::invalid_argument if the engine does not support
  // profiling.
  virtual void start_profile();
  virtual StepProfile stop_profile();

  // Measure the time of every task until stop_task_times, for predictions of the speed on more cores. Steps are divided
  // into tasks for `threads()` threads, but run on the calling thread. Throw std::invalid_argument if the engine does
  // not support it.
  virtual void start_task_times();
  virtual std::vector<StepTasks> stop_task_times();

  // Compute the outputs, f32 [B, ...]. images: f32 [B, C, H, W], already normalized. Training mode updates the running
  // statistics. `keep` determines what is saved for `backward`, until the next call.
  virtual at::Tensor forward(const network::Tensors& tensors, const at::Tensor& images, Mode mode,
                             Randomness randomness, Keep keep) = 0;

  // Compute the gradients of the latest `forward` of either mode. May be called once per forward. parameters: the same
  // values as in the forward. gradients: contiguous f32, one per parameter, overwritten. Return the gradients of the
  // images, f32 [B, C, H, W], if `keep` requested them, else an undefined tensor.
  virtual at::Tensor backward(std::span<const at::Tensor> parameters, std::span<const at::Tensor> gradients,
                              const at::Tensor& output_gradients) = 0;

  // Return the outputs in evaluation mode, f32 [B, ...].
  virtual at::Tensor predict(const network::Tensors& tensors, const ImageBatch& batch) = 0;

  // Run a training step without the optimizer: forward, mean loss over the batch, backward. gradients: contiguous f32,
  // one per parameter, overwritten.
  virtual StepResult step(const network::Tensors& tensors, std::span<const at::Tensor> gradients,
                          const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss,
                          Randomness randomness) = 0;

  // Call run(0), ..., run(tasks - 1) on the engine's threads and return when all calls have returned. For work between
  // two calls, such as that of the optimizer.
  virtual void parallel_for(int tasks, const common::Task& run) = 0;

 protected:
  // Throw std::invalid_argument unless the images are f32 [B, C, H, W] on the device, with the network's input shape.
  void check_images(const at::Tensor& images, const at::Device& device) const;

  // Throw std::invalid_argument unless there is a contiguous f32 gradient of the right size for each parameter.
  void check_gradients(std::span<const at::Tensor> gradients) const;

 private:
  std::shared_ptr<const network::Network> network_;
  int threads_;
};

// Throw std::invalid_argument unless a tensor is f32 with this shape and readable memory on the device. name: of the
// tensor, for the message.
void check_floats(const char* name, const at::Tensor& tensor, at::IntArrayRef shape, const at::Device& device);

}  // namespace mnistcnn::engine
