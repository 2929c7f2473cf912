#include "mnistcnn/train/model_view.h"

namespace mnistcnn::train {

InputScaling normalization(const std::vector<double>& means, const std::vector<double>& deviations) {
  InputScaling scaling;
  for (std::size_t channel = 0; channel < means.size(); ++channel) {
    scaling.scale.push_back(static_cast<float>(1 / (255 * deviations[channel])));
    scaling.shift.push_back(static_cast<float>(-means[channel] / deviations[channel]));
  }
  return scaling;
}

}  // namespace mnistcnn::train
