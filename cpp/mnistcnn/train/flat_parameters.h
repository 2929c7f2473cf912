#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "mnistcnn/network/tensors.h"

namespace mnistcnn::train {

// A copy of all tensors of a model in contiguous arrays, so that optimizers and averages pass over one array. It lives
// for one native call: tensors are copied in at its start and written back at its end.
struct FlatParameters {
  FlatParameters(const network::Analysis& analysis, const network::Tensors& source);

  void read(const network::Tensors& source);
  // Writes parameters, buffers and counters, and increments the version counters of the tensors.
  void write(const network::Tensors& target) const;

  at::Tensor values;     // f32 [parameter_count]
  at::Tensor gradients;  // f32 [parameter_count]
  at::Tensor buffers;    // f32 [buffer_count]
  at::Tensor counters;   // i64 [counters]
  // Views of these arrays, as engines take them.
  network::Tensors tensors;
  std::vector<at::Tensor> gradient_tensors;

 private:
  const network::Analysis& analysis_;
};

// Calls change(flat) on a flat copy of a model's tensors and writes it back, unless an exception ends it.
void change_flat(const network::Analysis& analysis, const network::Tensors& tensors,
                 const std::function<void(FlatParameters&)>& change);

}  // namespace mnistcnn::train
