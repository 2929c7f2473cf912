#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "mnistcnn/engine/batch.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"
#include "mnistcnn/engine/lanes/runtime/image_staging.h"
#include "mnistcnn/engine/loss.h"

// Inputs and outputs of a call: the first and last stages of the programs. Called by execution/programs per block.
namespace mnistcnn::engine::lanes {

// The arrays of one call. Those that the call does not use are empty.
struct CallArguments {
  ImageBatch batch{};             // u8 images of a data set (predict, step)
  const float* images = nullptr;  // f32 [images, C, H, W] (forward)
  std::span<const std::int64_t> labels;
  Loss loss;
  float* outputs = nullptr;                 // f32 [images, outputs]
  const float* output_gradients = nullptr;  // f32 [images, outputs]
  float* image_gradients = nullptr;         // f32 [images, C, H, W]
};

// Reads the images of a block, writes its outputs and computes its loss. Lanes without an image repeat the first image
// of the block, so that they hold finite numbers. Their outputs are never read, and their gradients are zero.
class BatchIo {
 public:
  explicit BatchIo(const ExecutionPlan& plan) : plan_(plan) {}

  // The arguments must stay valid until `end`.
  void begin(const CallArguments& arguments, int blocks, int threads);
  void end() { arguments_ = {}; }

  // Per block.
  void gather_images(const BlockContext& block);
  void read_images(const BlockContext& block) const;
  void write_outputs(const BlockContext& block) const;
  void read_output_gradients(const BlockContext& block) const;
  void write_image_gradients(const BlockContext& block) const;
  void compute_loss(const BlockContext& block);

  // Return loss and correct images, summed over all blocks in block order.
  StepResult result() const;

 private:
  const ExecutionPlan& plan_;
  CallArguments arguments_;
  ImageStaging staging_;
  std::vector<StepResult> results_;  // [blocks]
};

}  // namespace mnistcnn::engine::lanes
