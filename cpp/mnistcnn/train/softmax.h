#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace mnistcnn::train {

// softmax(outputs * scale) of one image and its logarithm, in double.
struct Softmax {
  std::vector<double> probabilities, logarithms;  // [classes]

  void compute(std::span<const float> outputs, double scale) {
    const double largest = *std::max_element(outputs.begin(), outputs.end()) * scale;
    double sum = 0;
    logarithms.resize(outputs.size());
    probabilities.resize(outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      logarithms[i] = outputs[i] * scale - largest;
      sum += probabilities[i] = std::exp(logarithms[i]);
    }
    for (double& each : probabilities) each /= sum;
    for (double& each : logarithms) each -= std::log(sum);
  }
};

}  // namespace mnistcnn::train
