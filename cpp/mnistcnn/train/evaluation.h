#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>

#include "mnistcnn/data/image_set.h"
#include "mnistcnn/metrics/scores.h"
#include "mnistcnn/train/model_view.h"
#include "mnistcnn/train/outputs.h"

// Prediction and testing; the model is in evaluation mode.
namespace mnistcnn::train {

inline constexpr std::int64_t kTestBatch = 512;  // default batch size

// Progress callback. Called between batches with the number of processed images: by `predict` and `test` at most every
// 50 ms, by `recompute_statistics` after every batch. An exception ends the pass.
using OnImages = std::function<void(std::int64_t images_done)>;

// Throw std::invalid_argument unless the data set is not empty, its images have this shape, and every label is a valid
// class of the network.
void check_set(const network::Network& network, const network::Shape& image, const data::ImageSet& set);

// Return the outputs, f32 [count, outputs], on the CPU. images: u8 [count, C, H, W].
at::Tensor predict(const ModelView& model, std::span<const std::uint8_t> images, std::int64_t count,
                   std::int64_t batch_size = kTestBatch, const OnImages& on_images = {});

// Compute the metrics of outputs. outputs: f32 [N, classes]; labels: [N].
metrics::Scores score(const at::Tensor& outputs, std::span<const std::int64_t> labels, OutputKind kind);

// Evaluate a model on a labelled data set.
metrics::Scores test(const ModelView& model, const data::ImageSet& set, std::int64_t batch_size = kTestBatch,
                     const OnImages& on_images = {});

}  // namespace mnistcnn::train
