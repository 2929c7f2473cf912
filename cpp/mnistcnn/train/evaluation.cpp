#include "mnistcnn/train/evaluation.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <stdexcept>
#include <vector>

#include "mnistcnn/common/text.h"
#include "mnistcnn/data/order.h"
#include "mnistcnn/engine/openmp_threads.h"
#include "mnistcnn/train/throttle.h"

namespace mnistcnn::train {

using common::text;

void check_set(const network::Network& network, const network::Shape& image, const data::ImageSet& set) {
  if (set.size() == 0) throw std::invalid_argument("the data set is empty");
  const auto expected = static_cast<std::size_t>(set.size() * network::element_count(image));
  if (set.images.size() != expected)
    throw std::invalid_argument(text(set.size(), " images of shape ", common::bracketed(image), " require ", expected,
                                     " bytes, got ", set.images.size()));
  check_labels(set.labels, class_count(network));
}

at::Tensor predict(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
                   std::int64_t batch_size, const OnImages& on_images) {
  if (batch_size < 1) throw std::invalid_argument(text("batch_size must be at least 1, got ", batch_size));
  const engine::ScopedOpenMpThreads openmp_threads(model.engine->threads());
  const network::Tensors tensors = model.tensors();
  const std::int64_t outputs = network::element_count(model.network().analysis.nodes.back().output_shape);
  at::Tensor result = at::empty({count, outputs}, at::kFloat);
  Throttle throttle;
  const std::vector<std::int64_t> order = data::plain_order(count);
  for (std::int64_t begin = 0; begin < count; begin += batch_size) {
    const std::int64_t size = std::min(batch_size, count - begin);
    const std::span<const std::int64_t> indices(order.data() + begin, static_cast<std::size_t>(size));
    const at::Tensor batch =
        model.engine->predict(tensors, {images.data(), indices, model.scaling.scale, model.scaling.shift});
    result.narrow(0, begin, size).copy_(batch.reshape({size, outputs}));
    if (on_images && throttle.due()) on_images(begin + size);
  }
  return result;
}

metrics::Scores score(const at::Tensor& outputs, std::span<const std::int64_t> labels, OutputKind kind) {
  const at::Tensor contiguous = outputs.contiguous();
  std::span<const float> compared = network::elements<const float>(contiguous);
  std::vector<float> logarithms;
  if (kind == OutputKind::kProbabilities) {
    std::ranges::transform(compared, std::back_inserter(logarithms), log_of_probability);
    compared = logarithms;
  }
  return metrics::score(
      compared, labels,
      kind == OutputKind::kLogits ? metrics::OutputScale::kLogits : metrics::OutputScale::kLogProbabilities);
}

metrics::Scores test(const ModelView& model, const data::ImageSet& set, std::int64_t batch_size,
                     const OnImages& on_images) {
  check_set(model.network(), model.network().graph.input_shape, set);
  const at::Tensor outputs = predict(model, set.images, set.size(), batch_size, on_images);
  return score(outputs, set.labels, output_kind(model.network()));
}

}  // namespace mnistcnn::train
