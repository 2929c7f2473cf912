#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/loss.h"
#include "mnistcnn/engine/profile.h"
#include "mnistcnn/network/tensors.h"

// Interface of the engines that execute a network. An engine is made for one network. Each call takes the tensors of a
// model, which the engine reads and writes in place and does not keep. Epochs, optimizers and data sets are not its
// concern. It is used by one thread at a time.
namespace mnistcnn::engine {

class Engine {
 public:
  explicit Engine(std::shared_ptr<const network::Network> network) : network_(std::move(network)) {}
  virtual ~Engine() = default;

  const network::Network& network() const { return *network_; }

  virtual std::string_view name() const = 0;

  // Memory that it holds between calls; 0 if none, or unknown.
  virtual std::int64_t memory_bytes() const { return 0; }

  // Memory that training with this batch size would need; 0 if unknown.
  virtual std::int64_t memory_bytes_of_step(std::int64_t) const { return 0; }

  // Measure the time of the following steps by layer. Throws std::invalid_argument if the engine does not support it.
  virtual void start_profile();
  virtual StepProfile stop_profile();

  // images: f32 [B, C, H, W], used as they are -> outputs, f32 [B, ...]. In training mode running statistics are
  // updated. Keeps what `keep` requests until the next call.
  virtual at::Tensor forward(const network::Tensors& tensors, const at::Tensor& images, Mode mode,
                             Randomness randomness, Keep keep) = 0;

  // Compute the gradients of the latest `forward`, in either mode, once. parameters: with the values that they had in
  // the forward. gradients: contiguous f32, one per parameter, overwritten. Returns the gradients of the images, f32
  // [B, C, H, W], if they were kept, else an undefined tensor.
  virtual at::Tensor backward(std::span<const at::Tensor> parameters, std::span<const at::Tensor> gradients,
                              const at::Tensor& output_gradients) = 0;

  // Compute outputs in evaluation mode, f32 [B, ...].
  virtual at::Tensor predict(const network::Tensors& tensors, const ImageBatch& batch) = 0;

  // Run one training step without the optimizer: forward, mean loss over the batch, backward. gradients: contiguous
  // f32, one per parameter, overwritten.
  virtual StepResult step(const network::Tensors& tensors, std::span<const at::Tensor> gradients,
                          const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss,
                          Randomness randomness) = 0;

 protected:
  // Throw std::invalid_argument unless there is a gradient of the right size for each parameter.
  void check_gradients(std::span<const at::Tensor> gradients) const;

 private:
  std::shared_ptr<const network::Network> network_;
};

// Throw std::invalid_argument unless the gradients have the shape of the outputs.
void check_output_gradients(const at::Tensor& output_gradients, at::IntArrayRef output_shape);

}  // namespace mnistcnn::engine
