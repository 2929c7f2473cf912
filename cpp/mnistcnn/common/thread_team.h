#pragma once
#include <memory>
#include <span>

namespace mnistcnn::common {

// A number of threads that live as long as the team and run the phases of a computation together.
//
// Within a phase every unit of work is done once, by whichever thread claims it first; the next phase begins when all
// units are done. Nobody waits for a thread that has not begun anything. Each thread prefers the same share of the
// units in every phase, forth and back in turns, so that it finds in its cache what it left there. The caller is thread
// 0. Waiting threads spin for some microseconds, then sleep. A team survives fork(): the child starts threads of its
// own when it first needs them.
class ThreadTeam {
 public:
  // work(context, unit, thread) is called for each unit, completion(context) by the thread that finished the last one.
  // Neither may throw.
  struct Phase {
    int units = 0;
    void (*work)(void* context, int unit, int thread) = nullptr;
    void (*completion)(void* context) = nullptr;
    void* context = nullptr;
  };

  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  // Somebody else's threads, for runs that would wake the team's own. `call` has work(context, number) called once each
  // on at most so many threads, the caller's among them as number 0, and returns when all have returned.
  class Lender {
   public:
    virtual ~Lender() = default;
    virtual void call(int threads, void (*work)(void* context, int number), void* context) = 0;
  };

  int threads() const { return threads_; }

  // Runs the phases in order and returns when the last is complete. One caller at a time. Without a lender the team's
  // own threads do it, which exist once they have been needed.
  void run(std::span<const Phase> phases, Lender* lender = nullptr);

 private:
  class Shared;

  void restart_after_fork();

  int threads_;
  long process_;
  std::unique_ptr<Shared> own_, lent_;  // by whom a run is done: threads of its own, or those that a lender brings
};

}  // namespace mnistcnn::common
