#include "mnistcnn/engine/lanes/lanes_engine.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "mnistcnn/common/cores.h"
#include "mnistcnn/common/label.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/common/thread_pool.h"
#include "mnistcnn/engine/lanes/execution/batch_io.h"
#include "mnistcnn/engine/lanes/execution/batch_memory.h"
#include "mnistcnn/engine/lanes/execution/parameter_binding.h"
#include "mnistcnn/engine/lanes/execution/profile.h"
#include "mnistcnn/engine/lanes/execution/programs.h"
#include "mnistcnn/engine/lanes/kernels/isa.h"
#include "mnistcnn/engine/lanes/plan/compiler.h"

namespace mnistcnn::engine::lanes {
namespace {

// Images per chunk of a prediction. A plan with batch memory keeps the memory of all blocks of a chunk.
constexpr std::int64_t kMaxPredictImages = 64 * kLanes, kMaxPredictImagesWithBatchMemory = 16 * kLanes;

// Throw std::invalid_argument unless the condition holds.
template <class... Parts>
void require(bool condition, const Parts&... message) {
  if (!condition) throw std::invalid_argument(common::text(message...));
}

int checked_threads(int threads) {
  require(threads >= 0, "threads must be at least 0, got ", threads, "; pass 0 for one per core");
  return threads > 0 ? threads : common::available_cores();
}

const network::Graph& checked_graph(const network::Graph& graph, const network::Analysis& analysis) {
  if (const auto reason = unsupported_reason(graph, analysis)) throw std::invalid_argument(*reason);
  return graph;
}

void check_step(const ExecutionPlan& plan, const ImageBatch& batch, std::span<const std::int64_t> labels,
                const Loss& loss) {
  const Extent& output = plan.output->extent;
  require(output.positions() == 1, "the loss needs an output of shape [classes], but the network's output is a map of ",
          output.rows, " x ", output.columns);
  require(labels.size() == batch.indices.size(), "labels must have one entry per image, got ", labels.size(),
          " labels for ", batch.indices.size(), " images");
  require(loss.label_smoothing >= 0 && loss.label_smoothing <= 1, "label_smoothing must be between 0 and 1, got ",
          loss.label_smoothing);
  for (std::size_t i = 0; i < labels.size(); ++i) common::check_label(labels[i], batch.indices[i], output.channels);
}

}  // namespace

class LanesEngine::Implementation {
 public:
  Implementation(network::Graph graph, int threads)
      : graph_(std::move(graph)),
        analysis_(network::analyse(graph_)),
        pool_(checked_threads(threads)),
        plan_(compile(checked_graph(graph_, analysis_), analysis_, kernels())),
        memory_(plan_, pool_.threads()),
        binding_(plan_, analysis_),
        io_(plan_),
        programs_(plan_, io_, binding_) {
    batch_.kernels = &kernels();
  }

  std::int64_t output_size() const { return plan_.output->extent.elements(); }
  std::size_t arena_bytes() const { return memory_.bytes(); }
  std::size_t arena_bytes_of_step(std::int64_t images) const {
    return memory_.bytes_for(images, memory_per(programs_.step));
  }
  std::string_view instruction_set() const { return batch_.kernels->name; }
  int threads() const { return pool_.threads(); }

  void forward(const TensorPointers& tensors, const CallArguments& arguments, std::int64_t count, Mode mode,
               Randomness randomness, Keep keep, common::ThreadPool::BorrowedThreads* borrowed) {
    const bool training = mode == Mode::kTrain;
    Executor& program = training ? programs_.forward_training : programs_.forward_evaluation;
    const CallScope scope(*this, Call::kForward, tensors);
    begin(program, arguments, count, training, randomness);
    batch_.image_gradients = keep == Keep::kForParametersAndImages;
    program.execute(batch_, pool_, borrowed);
    ready_for_backward_ = keep != Keep::kNothing;
  }

  void backward(const TensorPointers& tensors, const CallArguments& arguments,
                common::ThreadPool::BorrowedThreads* borrowed) {
    require(ready_for_backward_,
            "backward must follow a forward that keeps its activations, and can be called once per forward");
    require((arguments.image_gradients != nullptr) == batch_.image_gradients,
            "image_gradients must be given if, and only if, the forward was called with Keep::kForParametersAndImages");
    ready_for_backward_ = false;  // gradients share the memory of activations
    const CallScope scope(*this, Call::kBackward, tensors);
    io_.begin(arguments, batch_.blocks, pool_.threads());
    programs_.backward.execute(batch_, pool_, borrowed);
  }

  void predict(const TensorPointers& tensors, const ImageBatch& images, float* outputs) {
    const auto count = static_cast<std::int64_t>(images.indices.size());
    const std::int64_t max_chunk = plan_.batch_size > 0 ? kMaxPredictImagesWithBatchMemory : kMaxPredictImages;
    const std::int64_t max_images = plan_.predicts_whole_batches ? count : max_chunk;
    const CallScope scope(*this, Call::kForward, tensors);
    for (std::int64_t first = 0; first < count; first += max_images) {
      const std::int64_t chunk = std::min(max_images, count - first);
      CallArguments arguments;
      arguments.batch = images;
      arguments.batch.indices =
          images.indices.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(chunk));
      arguments.outputs = outputs + first * output_size();
      begin(programs_.predict, arguments, chunk, false, {});
      batch_.first_image = first;
      programs_.predict.execute(batch_, pool_);
    }
  }

  StepResult step(const TensorPointers& tensors, const CallArguments& arguments, Randomness randomness) {
    check_step(plan_, arguments.batch, arguments.labels, arguments.loss);
    const CallScope scope(*this, Call::kStep, tensors);
    const Stopwatch::Clock::time_point start = Stopwatch::Clock::now();
    begin(programs_.step, arguments, static_cast<std::int64_t>(arguments.batch.indices.size()), true, randomness);
    batch_.stopwatch = stopwatch_.get();
    batch_.task_recorder = task_recorder_.get();
    programs_.step.execute(batch_, pool_);
    batch_.stopwatch = nullptr;
    batch_.task_recorder = nullptr;
    if (stopwatch_) stopwatch_->add_step(Stopwatch::Clock::now() - start);
    return io_.result();
  }

  void parallel_for(int tasks, const common::Task& run, common::ThreadPool::BorrowedThreads* borrowed) {
    const auto run_task = [](void* context, int task, int) noexcept {
      (*static_cast<const common::Task*>(context))(task);
    };
    const common::ThreadPool::Phase phase{tasks, run_task, nullptr, const_cast<common::Task*>(&run)};
    pool_.run({&phase, 1}, borrowed);
  }

  void start_profile() {
    stopwatch_ = std::make_unique<Stopwatch>(pool_.threads(), static_cast<int>(plan_.ops.size()));
  }

  StepProfile stop_profile() {
    if (!stopwatch_) throw std::logic_error("stop_profile was called without start_profile");
    StepProfile profile = make_profile(*std::exchange(stopwatch_, nullptr), plan_);
    profile.instruction_set = batch_.kernels->name;
    profile.threads = pool_.threads();
    return profile;
  }

  void start_task_times() { task_recorder_ = std::make_unique<TaskRecorder>(); }

  std::vector<StepTasks> stop_task_times() {
    if (!task_recorder_) throw std::logic_error("stop_task_times was called without start_task_times");
    return std::exchange(task_recorder_, nullptr)->steps();
  }

 private:
  using Call = ParameterBinding::Call;

  // Binds the tensors of a call, and releases all pointers of the call when it is destroyed.
  class CallScope {
   public:
    CallScope(Implementation& engine, Call call, const TensorPointers& tensors) : engine_(engine) {
      engine_.binding_.bind(call, tensors, engine_.batch_);
    }
    ~CallScope() {
      ParameterBinding::release(engine_.batch_);
      engine_.io_.end();
    }
    CallScope(const CallScope&) = delete;
    CallScope& operator=(const CallScope&) = delete;

   private:
    Implementation& engine_;
  };

  static MemoryPer memory_per(const Executor& program) {
    return program.memory_per_thread() ? MemoryPer::kThread : MemoryPer::kBlock;
  }

  void begin(const Executor& program, const CallArguments& arguments, std::int64_t count, bool training,
             Randomness randomness) {
    require(count > 0, "a batch must contain at least one image");
    ready_for_backward_ = false;
    batch_.set_images(count, pool_.threads());
    batch_.training = training;
    batch_.first_image = 0;
    batch_.image_gradients = false;
    batch_.randomness = randomness;
    memory_.reserve(batch_, memory_per(program));
    io_.begin(arguments, batch_.blocks, pool_.threads());
    for (const auto& op : plan_.ops) op->prepare(batch_);
  }

  network::Graph graph_;
  network::Analysis analysis_;
  common::ThreadPool pool_;
  ExecutionPlan plan_;
  BatchContext batch_;
  BatchMemory memory_;
  ParameterBinding binding_;
  BatchIo io_;
  Programs programs_;
  bool ready_for_backward_ = false;
  std::unique_ptr<Stopwatch> stopwatch_;
  std::unique_ptr<TaskRecorder> task_recorder_;
};

LanesEngine::LanesEngine(network::Graph graph, int threads)
    : implementation_(std::make_unique<Implementation>(std::move(graph), threads)) {}
LanesEngine::~LanesEngine() = default;

void LanesEngine::forward(const TensorPointers& tensors, const float* images, std::int64_t count, Mode mode,
                          Randomness randomness, Keep keep, float* outputs,
                          common::ThreadPool::BorrowedThreads* borrowed) {
  CallArguments arguments;
  arguments.images = images;
  arguments.outputs = outputs;
  implementation_->forward(tensors, arguments, count, mode, randomness, keep, borrowed);
}

void LanesEngine::backward(const TensorPointers& tensors, const float* output_gradients, float* image_gradients,
                           common::ThreadPool::BorrowedThreads* borrowed) {
  CallArguments arguments;
  arguments.output_gradients = output_gradients;
  arguments.image_gradients = image_gradients;
  implementation_->backward(tensors, arguments, borrowed);
}

void LanesEngine::predict(const TensorPointers& tensors, const ImageBatch& batch, float* outputs) {
  implementation_->predict(tensors, batch, outputs);
}

StepResult LanesEngine::step(const TensorPointers& tensors, const ImageBatch& batch,
                             std::span<const std::int64_t> labels, const Loss& loss, Randomness randomness) {
  CallArguments arguments;
  arguments.batch = batch;
  arguments.labels = labels;
  arguments.loss = loss;
  return implementation_->step(tensors, arguments, randomness);
}

void LanesEngine::parallel_for(int tasks, const common::Task& run, common::ThreadPool::BorrowedThreads* borrowed) {
  implementation_->parallel_for(tasks, run, borrowed);
}

std::int64_t LanesEngine::output_size() const { return implementation_->output_size(); }
std::size_t LanesEngine::arena_bytes() const { return implementation_->arena_bytes(); }
std::size_t LanesEngine::arena_bytes_of_step(std::int64_t images) const {
  return implementation_->arena_bytes_of_step(images);
}
void LanesEngine::start_task_times() { implementation_->start_task_times(); }
std::vector<StepTasks> LanesEngine::stop_task_times() { return implementation_->stop_task_times(); }
void LanesEngine::start_profile() { implementation_->start_profile(); }
StepProfile LanesEngine::stop_profile() { return implementation_->stop_profile(); }
std::string_view LanesEngine::instruction_set() const { return implementation_->instruction_set(); }
int LanesEngine::threads() const { return implementation_->threads(); }

}  // namespace mnistcnn::engine::lanes
