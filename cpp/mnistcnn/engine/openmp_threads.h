#pragma once
#include "mnistcnn/common/thread_team.h"

namespace mnistcnn::engine {

// PyTorch's OpenMP threads in a user's own training loop. After each parallel operation of PyTorch's, such as the
// loss's backward, they keep turning for milliseconds in case another one follows.
//
// Where they are as many as our team, they do its work: they are awake, and the team's own would find the cores taken.
// An OpenMP region ends when all its threads have arrived, also one that the system has put aside for another process;
// after such a delay the team works by itself for a while. So it does where their number is another one. Where both are
// more than the cores they are then sent to rest before; PyTorch's next parallel operation starts them again (some 50
// microseconds each).
class OpenMpThreads final : private common::ThreadTeam::Lender {
 public:
  explicit OpenMpThreads(int our_threads);

  // To be asked before each run of our team: who lends threads to it, if anyone.
  common::ThreadTeam::Lender* prepare();

 private:
  void call(int threads, void (*work)(void* context, int number), void* context) override;

  const int our_threads_, cores_;
  int runs_alone_ = 0;  // that are to come after a delay
};

}  // namespace mnistcnn::engine
