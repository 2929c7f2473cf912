#include "mnistcnn/train/optimizers/muon.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/norm.h>

#include <algorithm>
#include <cmath>

namespace mnistcnn::train {

void Muon::step_matrix(const OptimizerStep& step, at::Tensor value, const at::Tensor& gradient,
                       at::Tensor velocity) const {
  const double current_momentum = step.momentum.value_or(momentum), decay = step.decayed ? weight_decay : 0;
  velocity.lerp_(gradient, 1 - current_momentum);
  const at::Tensor update = orthogonalised(nesterov ? gradient.lerp(velocity, current_momentum) : velocity);
  const auto rows = static_cast<double>(value.size(0)), columns = static_cast<double>(value.size(1));
  const double ratio =
      match_rms_adamw ? 0.2 * std::sqrt(std::max(rows, columns)) : std::sqrt(std::max(1.0, rows / columns));
  value.mul_(1 - step.learning_rate * decay).add_(update, -step.learning_rate * ratio);
}

// Newton-Schulz iteration in bfloat16, with the same operations as torch.optim.Muon. The singular values converge to
// about 1.
at::Tensor Muon::orthogonalised(const at::Tensor& matrix) const {
  const bool tall = matrix.size(0) > matrix.size(1);
  at::Tensor result = matrix.to(at::kBFloat16);
  if (tall) result = result.t();
  result.div_(result.norm().clamp_min(eps));
  for (std::int64_t i = 0; i < ns_steps; ++i) {
    const at::Tensor gram = at::mm(result, result.t());
    const at::Tensor polynomial = at::addmm(gram, gram, gram, coefficient_b, coefficient_c);
    result = at::addmm(result, polynomial, result, coefficient_a);
  }
  return tall ? result.t() : result;
}

}  // namespace mnistcnn::train
