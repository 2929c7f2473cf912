#include "mnistcnn/engine/lanes/lanes_engine.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "mnistcnn/common/cores.h"
#include "mnistcnn/common/label.h"
#include "mnistcnn/common/text.h"
#include "mnistcnn/engine/lanes/execution/profile.h"
#include "mnistcnn/engine/lanes/kernels/isa.h"

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

MemoryPer memory_per(const Executor& program) {
  return program.memory_per_thread() ? MemoryPer::kThread : MemoryPer::kBlock;
}

}  // namespace

// Binds the tensors of a call, and releases all pointers of the call when it is destroyed.
class LanesEngine::CallScope {
 public:
  CallScope(LanesEngine& engine, ParameterBinding::Call call, const TensorPointers& tensors) : engine_(engine) {
    engine_.binding_.bind(call, tensors, engine_.batch_);
  }
  ~CallScope() {
    ParameterBinding::release(engine_.batch_);
    engine_.batch_.stopwatch = nullptr;
    engine_.batch_.task_recorder = nullptr;
    engine_.io_.end();
  }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  LanesEngine& engine_;
};

LanesEngine::LanesEngine(network::Graph graph, int threads)
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

std::size_t LanesEngine::arena_bytes_of_step(std::int64_t images) const {
  return memory_.bytes_for(images, memory_per(programs_.step));
}

void LanesEngine::forward(const TensorPointers& tensors, const float* images, std::int64_t count, Mode mode,
                          Randomness randomness, Keep keep, float* outputs,
                          common::ThreadPool::BorrowedThreads* borrowed) {
  CallArguments arguments;
  arguments.images = images;
  arguments.outputs = outputs;
  const bool training = mode == Mode::kTrain;
  Executor& program = training ? programs_.forward_training : programs_.forward_evaluation;
  const CallScope scope(*this, ParameterBinding::Call::kForward, tensors);
  begin(program, arguments, count, training, randomness);
  batch_.has_backward = keep != Keep::kNothing;
  batch_.image_gradients = keep == Keep::kForParametersAndImages;
  program.execute(batch_, pool_, borrowed);
  ready_for_backward_ = batch_.has_backward;
}

void LanesEngine::backward(const TensorPointers& tensors, const float* output_gradients, float* image_gradients,
                           common::ThreadPool::BorrowedThreads* borrowed) {
  require(ready_for_backward_,
          "backward must follow a forward that keeps its activations, and can be called once per forward");
  require((image_gradients != nullptr) == batch_.image_gradients,
          "image_gradients must be given if, and only if, the forward was called with Keep::kForParametersAndImages");
  ready_for_backward_ = false;  // gradients share the memory of activations
  CallArguments arguments;
  arguments.output_gradients = output_gradients;
  arguments.image_gradients = image_gradients;
  const CallScope scope(*this, ParameterBinding::Call::kBackward, tensors);
  io_.begin(arguments, batch_.blocks, pool_.threads());
  programs_.backward.execute(batch_, pool_, borrowed);
}

void LanesEngine::predict(const TensorPointers& tensors, const ImageBatch& batch, float* outputs) {
  const auto count = static_cast<std::int64_t>(batch.indices.size());
  const std::int64_t max_chunk = plan_.batch_size > 0 ? kMaxPredictImagesWithBatchMemory : kMaxPredictImages;
  const std::int64_t max_images = plan_.predicts_whole_batches ? count : max_chunk;
  const CallScope scope(*this, ParameterBinding::Call::kForward, tensors);
  for (std::int64_t first = 0; first < count; first += max_images) {
    const std::int64_t chunk = std::min(max_images, count - first);
    CallArguments arguments;
    arguments.batch = batch;
    arguments.batch.indices = batch.indices.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(chunk));
    arguments.outputs = outputs + first * output_size();
    begin(programs_.predict, arguments, chunk, false, {});
    batch_.first_image = first;
    programs_.predict.execute(batch_, pool_);
  }
}

StepResult LanesEngine::step(const TensorPointers& tensors, const ImageBatch& batch,
                             std::span<const std::int64_t> labels, const Loss& loss, Randomness randomness) {
  check_step(plan_, batch, labels, loss);
  CallArguments arguments;
  arguments.batch = batch;
  arguments.labels = labels;
  arguments.loss = loss;
  const CallScope scope(*this, ParameterBinding::Call::kStep, tensors);
  const Stopwatch::Clock::time_point start = Stopwatch::Clock::now();
  begin(programs_.step, arguments, static_cast<std::int64_t>(batch.indices.size()), true, randomness);
  batch_.has_backward = true;
  batch_.stopwatch = stopwatch_.get();
  batch_.task_recorder = task_recorder_.get();
  programs_.step.execute(batch_, pool_);
  if (stopwatch_) stopwatch_->add_step(Stopwatch::Clock::now() - start);
  return io_.result();
}

void LanesEngine::parallel_for(int tasks, const common::Task& run, common::ThreadPool::BorrowedThreads* borrowed) {
  const auto run_task = [](void* context, int task, int) noexcept {
    (*static_cast<const common::Task*>(context))(task);
  };
  const common::ThreadPool::Phase phase{tasks, run_task, nullptr, const_cast<common::Task*>(&run)};
  pool_.run({&phase, 1}, borrowed);
}

void LanesEngine::start_profile() {
  stopwatch_ = std::make_unique<Stopwatch>(pool_.threads(), static_cast<int>(plan_.ops.size()));
}

StepProfile LanesEngine::stop_profile() {
  if (!stopwatch_) throw std::logic_error("stop_profile was called without start_profile");
  StepProfile profile = make_profile(*std::exchange(stopwatch_, nullptr), plan_);
  profile.instruction_set = batch_.kernels->name;
  profile.threads = pool_.threads();
  return profile;
}

void LanesEngine::start_task_times() { task_recorder_ = std::make_unique<TaskRecorder>(); }

std::vector<StepTasks> LanesEngine::stop_task_times() {
  if (!task_recorder_) throw std::logic_error("stop_task_times was called without start_task_times");
  return std::exchange(task_recorder_, nullptr)->steps();
}

void LanesEngine::begin(const Executor& program, const CallArguments& arguments, std::int64_t count, bool training,
                        Randomness randomness) {
  require(count > 0, "a batch must contain at least one image");
  ready_for_backward_ = false;
  batch_.set_images(count, pool_.threads());
  batch_.training = training;
  batch_.first_image = 0;
  batch_.has_backward = batch_.image_gradients = false;
  batch_.randomness = randomness;
  memory_.reserve(batch_, memory_per(program));
  io_.begin(arguments, batch_.blocks, pool_.threads());
  for (const auto& op : plan_.ops) op->prepare(batch_);
}

}  // namespace mnistcnn::engine::lanes
