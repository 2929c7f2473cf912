#include "mnistcnn/engine/openmp_threads.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "mnistcnn/common/cores.h"

namespace mnistcnn::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kDelay{200};  // that ends the lending for a while
constexpr std::chrono::microseconds kGainPerRun{
    100};  // about what lending gains: so many runs alone make up for a delay
constexpr int kMostRunsAlone = 1000;
constexpr int kSoftPause = 1;

// Of the OpenMP library that PyTorch itself is linked with; a process may well hold several. nullptr where it has none,
// or one that lacks the function.
struct Functions {
  int (*pause_all)(int kind) = nullptr;  // OpenMP 5.0's omp_pause_resource_all
  int (*thread_number)() = nullptr;      // omp_get_thread_num
  // What GCC makes of `#pragma omp parallel num_threads(threads)`; LLVM's library has it as well.
  void (*parallel)(void (*work)(void*), void* context, unsigned threads, unsigned flags) = nullptr;
};

template <class Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
}

// There the parent's OpenMP threads are missing, and a parallel region would wait for them in vain.
std::atomic<bool> in_child_of_a_fork{false};

Functions find_functions() {
  Functions found;
  if (pthread_atfork(nullptr, nullptr, [] { in_child_of_a_fork = true; }) != 0) return found;
  Dl_info torch{};
  if (dladdr(reinterpret_cast<void*>(&at::get_num_threads), &torch) == 0 || torch.dli_fname == nullptr) return found;
  void* const library = dlopen(torch.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return found;
  find(library, "omp_pause_resource_all", found.pause_all);
  find(library, "omp_get_thread_num", found.thread_number);
  find(library, "GOMP_parallel", found.parallel);
  return found;
}

const Functions& functions() {
  static const Functions found = find_functions();
  return found;
}

}  // namespace

OpenMpThreads::OpenMpThreads(int our_threads) : our_threads_(our_threads), cores_(common::available_cores()) {
  functions();  // from here on a fork is noticed
}

common::ThreadTeam::Lender* OpenMpThreads::prepare() {
  const Functions& openmp = functions();
  if (in_child_of_a_fork || at::in_parallel_region()) return nullptr;
  const int theirs = at::get_num_threads();
  const bool fit =
      theirs == our_threads_ && theirs > 1 && openmp.parallel != nullptr && openmp.thread_number != nullptr;
  if (fit && runs_alone_ == 0) return this;
  if (runs_alone_ > 0) --runs_alone_;
  if (theirs - 1 > cores_ - our_threads_ && openmp.pause_all != nullptr) openmp.pause_all(kSoftPause);
  return nullptr;
}

void OpenMpThreads::call(int threads, void (*work)(void* context, int number), void* context) {
  struct Region {
    void (*work)(void* context, int number);
    void* context;
    Clock::time_point done{};
    std::atomic<int> threads{0};
  } region{work, context};
  const auto take_part = [](void* given) {
    Region& own = *static_cast<Region*>(given);
    const int number = functions().thread_number();
    own.work(own.context, number);
    if (number == 0) own.done = Clock::now();
    ++own.threads;
  };
  functions().parallel(take_part, &region, static_cast<unsigned>(threads), 0);
  if (region.threads < threads) runs_alone_ = kMostRunsAlone;  // OMP_THREAD_LIMIT and the like
  const auto late = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - region.done);
  if (late > kDelay) runs_alone_ = static_cast<int>(std::min<std::int64_t>(late / kGainPerRun, kMostRunsAlone));
}

}  // namespace mnistcnn::engine
