#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>

#include "mnistcnn/data/image_set.h"
#include "mnistcnn/metrics/scores.h"
#include "mnistcnn/train/model_view.h"
#include "mnistcnn/train/outputs.h"

namespace mnistcnn::train {

inline constexpr std::int64_t kTestBatch = 512;  // images at once

// Called between batches with the number of images done; an exception from it ends the pass.
using OnImages = std::function<void(std::int64_t images_done)>;

// Throw std::invalid_argument unless there are images, all of this shape, and every label is a class of the network.
void check_set(const network::Network& network, const network::Shape& image, const data::ImageSet& set);

// Outputs in evaluation mode, in the order of the images -> f32 [N, outputs], on the CPU
//   images: u8 [count, C, H, W]
at::Tensor predict(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
                   std::int64_t batch_size = kTestBatch, const OnImages& on_images = {});

// outputs: f32 [N, classes]; labels: [N]
metrics::Scores score(const at::Tensor& outputs, std::span<const std::int64_t> labels, OutputKind kind);

// Loss, accuracy, predictions and confusion matrix of a model on a labelled set.
metrics::Scores test(const ModelView& model, const data::ImageSet& set, std::int64_t batch_size = kTestBatch,
                     const OnImages& on_images = {});

}  // namespace mnistcnn::train
