#include "mnistcnn/engine/openmp_rest.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>

#include "mnistcnn/common/cores.h"

namespace mnistcnn::engine {
namespace {

// OpenMP 5.0: `int omp_pause_resource_all(omp_pause_resource_t)`, where 1 stands for a soft pause.
using Pause = int (*)(int);
constexpr int kSoft = 1;

// The function of the OpenMP library that PyTorch itself is linked with; a process may well hold several of them.
// nullptr where PyTorch has none, or one that is too old.
Pause find_pause() {
  Dl_info torch{};
  if (dladdr(reinterpret_cast<void*>(&at::get_num_threads), &torch) == 0 || torch.dli_fname == nullptr) return nullptr;
  void* const library = dlopen(torch.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  return library == nullptr ? nullptr : reinterpret_cast<Pause>(dlsym(library, "omp_pause_resource_all"));
}

}  // namespace

OpenMpRest::OpenMpRest(int our_threads) : spare_cores_(common::available_cores() - our_threads) {}

void OpenMpRest::begin() const {
  static const Pause pause = find_pause();
  if (pause != nullptr && at::get_num_threads() - 1 > spare_cores_) pause(kSoft);
}

}  // namespace mnistcnn::engine
