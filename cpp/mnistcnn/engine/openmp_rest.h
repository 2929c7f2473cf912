#pragma once

namespace mnistcnn::engine {

// PyTorch's OpenMP threads keep turning for milliseconds after each parallel operation, in case another one follows.
// Where they and our team are more than the cores, this sends those of the calling thread to rest: a team of two on two
// cores otherwise shares one of them. PyTorch's next parallel operation starts them again (some 50 microseconds each).
class OpenMpRest {
 public:
  explicit OpenMpRest(int our_threads);

  void begin() const;

 private:
  const int spare_cores_;  // those that our team leaves to others
};

}  // namespace mnistcnn::engine
