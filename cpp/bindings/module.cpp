#include "bindings.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "Compiled core of mnistcnn (private). Use the package mnistcnn instead.";
  mnistcnn::bindings::bind_errors(module);
  mnistcnn::bindings::bind_exit(module);
  mnistcnn::bindings::bind_data(module);
  mnistcnn::bindings::bind_augmentation(module);
  mnistcnn::bindings::bind_network(module);
  mnistcnn::bindings::bind_zoo(module);
  mnistcnn::bindings::bind_guard(module);
  mnistcnn::bindings::bind_engine(module);
  mnistcnn::bindings::bind_optimizer(module);
  mnistcnn::bindings::bind_loss(module);
  mnistcnn::bindings::bind_schedule(module);
  mnistcnn::bindings::bind_metrics(module);
  mnistcnn::bindings::bind_train(module);
  mnistcnn::bindings::bind_averaging(module);
  mnistcnn::bindings::bind_profile(module);
  mnistcnn::bindings::bind_testing(module);
}
