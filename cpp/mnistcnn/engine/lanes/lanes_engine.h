#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "mnistcnn/common/parallel_for.h"
#include "mnistcnn/common/thread_pool.h"
#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/lanes/execution/batch_io.h"
#include "mnistcnn/engine/lanes/execution/batch_memory.h"
#include "mnistcnn/engine/lanes/execution/parameter_binding.h"
#include "mnistcnn/engine/lanes/execution/programs.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/stopwatch.h"
#include "mnistcnn/engine/lanes/runtime/task_recorder.h"
#include "mnistcnn/engine/lanes/runtime/tensor_pointers.h"
#include "mnistcnn/engine/loss.h"
#include "mnistcnn/engine/profile.h"
#include "mnistcnn/network/analysis.h"
#include "mnistcnn/network/graph.h"

// Float32 training engine for small networks on the CPU. It computes 16 images at a time, one per SIMD lane. Requires
// neither libtorch nor OpenMP. Called by engine/lanes_adapter, which converts PyTorch's tensors to pointers. Design:
// docs/lanes.md.
namespace mnistcnn::engine::lanes {

// Engine for one network. Not thread-safe: one call at a time. Results are bit-identical for any number of threads. No
// pointer is kept after a call returns. Callers must check the size of each batch with network::check_batch first.
// `borrowed`: threads that run the call instead of the engine's own, or nullptr.
class LanesEngine {
 public:
  // threads = 0: one per physical core available to this process. Throw std::invalid_argument if the network is not
  // supported.
  LanesEngine(network::Graph graph, int threads);
  LanesEngine(const LanesEngine&) = delete;
  LanesEngine& operator=(const LanesEngine&) = delete;

  std::int64_t output_size() const { return plan_.output->extent.elements(); }  // per image

  // Compute outputs, f32 [count, output_size], from images, f32 [count, C, H, W]. `keep` determines which gradients
  // `backward` can compute. With kForParametersAndImages, max pools resolve ties as PyTorch does.
  void forward(const TensorPointers& tensors, const float* images, std::int64_t count, Mode mode, Randomness randomness,
               Keep keep, float* outputs, common::ThreadPool::BorrowedThreads* borrowed = nullptr);

  // Compute the gradients of the latest forward and write those of the parameters to `tensors`. Can be called once per
  // forward; the parameters must not change in between. output_gradients: f32 [count, output_size]. image_gradients:
  // f32 [count, C, H, W] if the forward was called with kForParametersAndImages, otherwise nullptr.
  void backward(const TensorPointers& tensors, const float* output_gradients, float* image_gradients,
                common::ThreadPool::BorrowedThreads* borrowed = nullptr);

  // Compute outputs in evaluation mode: f32 [count, output_size].
  void predict(const TensorPointers& tensors, const ImageBatch& batch, float* outputs);

  // Run one training step without the optimizer: compute the loss and write the gradients of its mean over the batch to
  // `tensors`.
  StepResult step(const TensorPointers& tensors, const ImageBatch& batch, std::span<const std::int64_t> labels,
                  const Loss& loss, Randomness randomness);

  // Call run(0), ..., run(tasks - 1) on the threads of the engine.
  void parallel_for(int tasks, const common::Task& run, common::ThreadPool::BorrowedThreads* borrowed = nullptr);

  std::size_t arena_bytes() const { return memory_.bytes(); }  // bytes that are allocated at present
  // Bytes that a step with `images` images would allocate.
  std::size_t arena_bytes_of_step(std::int64_t images) const;

  // Measure the time of the steps between these two calls, by operation.
  void start_profile();
  StepProfile stop_profile();

  // Measure the time of every task of the steps between these two calls. The steps are divided into tasks for
  // `threads()` threads, but run on the calling thread.
  void start_task_times();
  std::vector<StepTasks> stop_task_times();

  std::string_view instruction_set() const { return batch_.kernels->name; }
  int threads() const { return pool_.threads(); }

 private:
  class CallScope;

  void begin(const Executor& program, const CallArguments& arguments, std::int64_t count, bool training,
             Randomness randomness);

  network::Graph graph_;
  network::Analysis analysis_;
  common::ThreadPool pool_;
  ExecutionPlan plan_;
  BatchContext batch_;
  BatchMemory memory_;
  ParameterBinding binding_;
  BatchIo io_;
  Programs programs_;
  bool ready_for_backward_ = false;
  std::unique_ptr<Stopwatch> stopwatch_;
  std::unique_ptr<TaskRecorder> task_recorder_;
};

}  // namespace mnistcnn::engine::lanes
