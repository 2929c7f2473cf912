#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "mnistcnn/common/thread_team.h"
#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/loss.h"
#include "mnistcnn/engine/profile.h"
#include "mnistcnn/network/analysis.h"
#include "mnistcnn/network/graph.h"

// Trains small networks natively on the CPU: 16 images fill a block's SIMD lanes. See docs/lanes.md.
namespace mnistcnn::engine::lanes {

// Where the tensors of a model lie during one call, in the order of Analysis::parameters, ::buffers and ::counters.
struct Memory {
  std::span<const float* const> values;     // of the parameters
  std::span<float* const> gradients;        // of the parameters; empty for calls that compute none
  std::span<float* const> buffers;          // running means and variances; empty in `backward`
  std::span<std::int64_t* const> counters;  // batches seen by each batch norm; empty in `backward`
};

// Why this network can't run here ("node 'norm1': ..."), or nothing when it can.
std::optional<std::string> refusal(const network::Graph& graph, const network::Analysis& analysis);

// Used by one thread at a time. Results are the same bits for every number of threads. No address that a call is given
// is kept beyond that call.
class LanesEngine {
 public:
  // threads = 0: the cores this process may use. Throws std::invalid_argument for a network that `refusal` refuses.
  LanesEngine(network::Graph graph, int threads);
  ~LanesEngine();
  LanesEngine(const LanesEngine&) = delete;
  LanesEngine& operator=(const LanesEngine&) = delete;

  std::int64_t output_size() const;  // numbers per image

  // images: f32 [count, C, H, W] -> outputs: f32 [count, output_size]. image_gradients: whether the backward will ask
  // for gradients of the images; max pools then resolve ties as PyTorch does. lender: threads to run on, if any.
  void forward(const Memory& memory, const float* images, std::int64_t count, Mode mode, Randomness randomness,
               bool image_gradients, float* outputs, common::ThreadTeam::Lender* lender = nullptr);

  // Compute the gradients of the latest forward, once; the parameters must have the values that they had then. Writes
  // the gradients of the parameters to `memory`. image_gradients: f32 [count, C, H, W], or nullptr if the forward was
  // not told to keep them.
  void backward(const Memory& memory, const float* output_gradients, float* image_gradients,
                common::ThreadTeam::Lender* lender = nullptr);

  // Evaluation mode -> outputs: f32 [count, output_size]
  void predict(const Memory& memory, const ImageBatch& batch, float* outputs);

  // One training step without the optimizer; the loss is the mean over the batch.
  StepResult step(const Memory& memory, const ImageBatch& batch, std::span<const std::int64_t> labels, const Loss& loss,
                  Randomness randomness);

  std::size_t arena_bytes() const;
  // What a step with so many images needs, without making room for it.
  std::size_t arena_bytes_of_step(std::int64_t images) const;

  // Counts the time of the steps from here on, and stops counting.
  void start_profile();
  StepProfile stop_profile();

  std::string_view instruction_set() const;
  int threads() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace mnistcnn::engine::lanes
