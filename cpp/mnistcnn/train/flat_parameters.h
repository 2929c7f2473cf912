#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "mnistcnn/network/tensors.h"

namespace mnistcnn::train {

// Copy of all tensors of a model in contiguous arrays, so that optimizers and averages process one array. It exists for
// the duration of a call: the tensors are copied at the start and written back at the end.
struct FlatParameters {
  FlatParameters(const network::Analysis& analysis, const network::Tensors& source);

  void read(const network::Tensors& source);
  // Write parameters, buffers and counters to the tensors, and increment their version counters.
  void write(const network::Tensors& target) const;

  at::Tensor values;     // f32 [parameter_count]
  at::Tensor gradients;  // f32 [parameter_count]
  at::Tensor buffers;    // f32 [buffer_count]
  at::Tensor counters;   // i64 [counters]
  // Views of the arrays, as arguments for engines.
  network::Tensors tensors;
  std::vector<at::Tensor> gradient_tensors;

 private:
  const network::Analysis& analysis_;
};

// Call change(flat) with a flat copy of the tensors of a model and write the copy back, unless `change` throws.
void change_flat(const network::Analysis& analysis, const network::Tensors& tensors,
                 const std::function<void(FlatParameters&)>& change);

}  // namespace mnistcnn::train
