#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace mnistcnn::train {

struct SgdOptions {
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

// A stretch of the flat arrays, [begin, end).
struct Range {
  std::int64_t begin, end;
};

// torch.optim.SGD's arithmetic in one pass over the flat arrays.
class Sgd {
 public:
  // trainable: the stretches that change; the rest is frozen.
  Sgd(SgdOptions options, std::vector<Range> trainable, const at::Tensor& values);

  // From now on these; what the others had gathered in momentum is kept.
  void set_trainable(std::vector<Range> trainable);

  // values, gradients: f32 [P]
  void step(at::Tensor& values, const at::Tensor& gradients, double learning_rate);

  // f32 [P], empty without momentum, and whether it has been filled: with them a run goes on exactly where it was.
  const at::Tensor& velocity() const { return velocity_; }
  bool started() const { return started_; }
  void restore(const at::Tensor& velocity, bool started);

 private:
  void step_on_cpu(float* values, const float* gradients, double learning_rate);
  void step_by_tensors(at::Tensor& values, const at::Tensor& gradients, double learning_rate);

  SgdOptions options_;
  std::int64_t count_;  // of all parameters
  std::vector<Range> trainable_;
  at::Tensor velocity_;
  bool started_ = false;
};

}  // namespace mnistcnn::train
