#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "mnistcnn/common/thread_pool.h"
#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/lanes/runtime/tensor_pointers.h"
#include "mnistcnn/engine/loss.h"
#include "mnistcnn/engine/profile.h"
#include "mnistcnn/network/analysis.h"
#include "mnistcnn/network/graph.h"

// Trains small networks natively on the CPU, 16 images at a time in the lanes of SIMD registers. See docs/lanes.md.
namespace mnistcnn::engine::lanes {

// Why the engine does not support this network ("node 'norm1': ..."), or nothing if it does.
std::optional<std::string> refusal(const network::Graph& graph, const network::Analysis& analysis);

// Used by one thread at a time. Results are bit-identical for every number of threads. The engine keeps no pointer that
// a call is given.
class LanesEngine {
 public:
  // threads = 0: all cores that this process may use. Throws std::invalid_argument if `refusal` has a reason.
  LanesEngine(network::Graph graph, int threads);
  ~LanesEngine();
  LanesEngine(const LanesEngine&) = delete;
  LanesEngine& operator=(const LanesEngine&) = delete;

  std::int64_t output_size() const;  // per image

  // images: f32 [count, C, H, W] -> outputs: f32 [count, output_size]. With kForParametersAndImages, max pools resolve
  // ties as PyTorch does.
  void forward(const TensorPointers& tensors, const float* images, std::int64_t count, Mode mode, Randomness randomness,
               Keep keep, float* outputs, common::ThreadPool::BorrowedThreads* borrowed = nullptr);

  // Compute the gradients of the latest forward, once; the parameters must not have changed since. Writes the gradients
  // of the parameters to `tensors`. image_gradients: f32 [count, C, H, W], or nullptr if the forward did not keep what
  // they need.
  void backward(const TensorPointers& tensors, const float* output_gradients, float* image_gradients,
                common::ThreadPool::BorrowedThreads* borrowed = nullptr);

  // Compute outputs in evaluation mode: f32 [count, output_size].
  void predict(const TensorPointers& tensors, const ImageBatch& batch, float* outputs);

  // Run one training step without the optimizer; the loss is the mean over the batch.
  StepResult step(const TensorPointers& tensors, const ImageBatch& batch, std::span<const std::int64_t> labels,
                  const Loss& loss, Randomness randomness);

  std::size_t arena_bytes() const;
  // What a step with so many images would need.
  std::size_t arena_bytes_of_step(std::int64_t images) const;

  // Measure the time of the steps between these calls.
  void start_profile();
  StepProfile stop_profile();

  std::string_view instruction_set() const;
  int threads() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace mnistcnn::engine::lanes
