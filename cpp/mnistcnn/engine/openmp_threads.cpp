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

constexpr std::chrono::microseconds kMaxDelay{200};  // tolerated delay of the slowest thread
// Approximate gain of a run on borrowed threads. After a delay the next delay / kGainPerRun runs use the pool's own
// threads.
constexpr std::chrono::microseconds kGainPerRun{100};
constexpr int kMaxRunsWithout = 1000;
constexpr int kSoftPause = 1;

// Functions of the OpenMP library that PyTorch is linked with; a process may have loaded several OpenMP libraries.
// nullptr if there is none or it lacks the function.
struct Functions {
  int (*pause_all)(int kind) = nullptr;        // OpenMP 5.0's omp_pause_resource_all
  int (*thread_number)() = nullptr;            // omp_get_thread_num
  void (*set_threads)(int threads) = nullptr;  // omp_set_num_threads, for the calling thread
  // MKL's number for the calling thread, which at::set_num_threads sets; 0: that of OpenMP. Return the previous one.
  int (*set_mkl_threads)(int threads) = nullptr;
  // GCC's entry point for `#pragma omp parallel num_threads(threads)`; LLVM's library provides it too.
  void (*parallel)(void (*work)(void*), void* context, unsigned threads, unsigned flags) = nullptr;
};

template <class Function>
void load_function(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
}

// After fork() the child has no OpenMP threads, and a parallel region would wait for them forever.
std::atomic<bool> in_forked_child{false};
const bool watches_forks = pthread_atfork(nullptr, nullptr, [] { in_forked_child = true; }) == 0;

Functions load_functions() {
  Functions loaded;
  if (!watches_forks) return loaded;
  Dl_info torch{};
  if (dladdr(reinterpret_cast<void*>(&at::get_num_threads), &torch) == 0 || torch.dli_fname == nullptr) return loaded;
  void* const library = dlopen(torch.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return loaded;
  load_function(library, "omp_pause_resource_all", loaded.pause_all);
  load_function(library, "omp_get_thread_num", loaded.thread_number);
  load_function(library, "GOMP_parallel", loaded.parallel);
  load_function(library, "omp_set_num_threads", loaded.set_threads);
  load_function(library, "MKL_Set_Num_Threads_Local", loaded.set_mkl_threads);
  return loaded;
}

const Functions& functions() {
  static const Functions loaded = load_functions();
  return loaded;
}

}  // namespace

ScopedOpenMpThreads::ScopedOpenMpThreads(int threads) {
  const int wanted = in_forked_child ? 1 : threads;
  const Functions& openmp = functions();
  if (wanted == 0 || openmp.set_threads == nullptr) return;
  const int current = at::get_num_threads();  // the first call on a thread sets the number, so it must come before
  if (current == wanted) return;
  before_ = current;
  openmp.set_threads(wanted);
  if (openmp.set_mkl_threads != nullptr) mkl_before_ = openmp.set_mkl_threads(wanted);
}

ScopedOpenMpThreads::~ScopedOpenMpThreads() {
  if (before_ == 0) return;
  functions().set_threads(before_);
  if (functions().set_mkl_threads != nullptr) functions().set_mkl_threads(mkl_before_);
}

OpenMpThreads::OpenMpThreads(int pool_threads) : pool_threads_(pool_threads), cpus_(common::available_cpus()) {}

common::ThreadPool::BorrowedThreads* OpenMpThreads::borrow() {
  const Functions& openmp = functions();
  if (in_forked_child || at::in_parallel_region()) return nullptr;
  const int openmp_threads = at::get_num_threads();
  const bool fits = openmp_threads == pool_threads_ && openmp_threads > 1 && openmp.parallel != nullptr &&
                    openmp.thread_number != nullptr;
  if (fits && runs_without_ == 0) return this;
  if (runs_without_ > 0) --runs_without_;
  if (openmp_threads - 1 > cpus_ - pool_threads_ && openmp.pause_all != nullptr) openmp.pause_all(kSoftPause);
  return nullptr;
}

void OpenMpThreads::run_on_each(int threads, void (*run)(void* context, int thread) noexcept, void* context) {
  struct Region {
    void (*run)(void* context, int thread) noexcept;
    void* context;
    Clock::time_point done{};
    std::atomic<int> threads{0};
  } region{run, context};
  const auto run_region = [](void* given) {
    Region& own = *static_cast<Region*>(given);
    const int thread = functions().thread_number();
    own.run(own.context, thread);
    if (thread == 0) own.done = Clock::now();
    ++own.threads;
  };
  functions().parallel(run_region, &region, static_cast<unsigned>(threads), 0);
  const auto delay = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - region.done);
  if (region.threads < threads)  // limited by OMP_THREAD_LIMIT, for example
    runs_without_ = kMaxRunsWithout;
  else if (delay > kMaxDelay)
    runs_without_ = static_cast<int>(std::min<std::int64_t>(delay / kGainPerRun, kMaxRunsWithout));
}

}  // namespace mnistcnn::engine
